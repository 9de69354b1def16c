//! Many detections at once, or a sink that is down for a long time. The sum that arrives is right.

use std::io::{Read, Seek};
use std::process::Command;

use sandbox::IntakeAnswer;

use super::journal::folder_and_path;
use super::support::binary::binary;
use super::support::bodies::{bodies, numbered_oom};
use super::support::destination::{Destination, TestedSink};
use super::support::ports::free_port;
use super::support::script::Script;

const MANAGED: (&str, &str) = ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances");

/// Invocations that run at once and fail by one kill. Each has a report.
fn killed_together(count: usize) -> String {
    let starts: String =
        (0..count).map(|number| format!("{number} start r{number:04}\n")).collect();
    let report = |number| format!("5000 report r{number:04} error - Runtime.OutOfMemory\n");
    format!("{starts}--\n{}", (0..count).map(report).collect::<String>())
}

#[test]
fn a_kill_with_many_invocations_open_counts_each_at_each_receiver() {
    for sink in [TestedSink::Network, TestedSink::Otlp, TestedSink::Datagram] {
        for count in [64, 256, 300_u16] {
            let destination = Destination::start(sink);
            let script = start_ready(&destination, &[MANAGED]);
            let mut sender = script.connect();
            for body in bodies(&killed_together(count.into())) {
                assert_eq!(sender.post(body), 200);
            }
            let output = script.end(0);
            assert_eq!(destination.count(), Some(count.into()), "{sink:?}\n{}", output.stderr);
            // The agent itself writes datagrams. A child sends to the others.
            let (written, sent) =
                if sink == TestedSink::Datagram { (count, 0) } else { (0, count) };
            output.assert_once(&format!(
                "written: {written}, unwritten: 0, sent: {sent}, unknown: 0, dropped: 0, \
                 overflowed: 0, failed: 0"
            ));
            let Some(server) = destination.server() else { continue };
            let requests = server.requests().len();
            assert!(requests <= usize::from(count) / 8, "{sink:?}: {requests} requests");
        }
    }
}

/// When stdout takes every line, no detection is joined, and each line has its request id. Stdout
/// is a file, which takes everything. A pipe may be full until somebody reads it.
#[test]
fn a_kill_with_many_invocations_open_writes_a_line_for_each() {
    for count in [64, 256] {
        let mut file = tempfile::tempfile().expect("a file");
        let stdout = file.try_clone().expect("a descriptor").into();
        let script = Script::start_by(Command::new(binary()), stdout, &[MANAGED]).make_ready();
        let mut sender = script.connect();
        for body in bodies(&killed_together(count)) {
            assert_eq!(sender.post(body), 200);
        }
        script.end(0).assert_once(&format!("detections: {count}, evicted: 0,"));
        file.rewind().expect("its beginning");
        let mut written = String::new();
        file.read_to_string(&mut written).expect("text");
        let is_written = |number| written.contains(&format!(r#""requestId":"r{number:04}""#));
        assert_eq!((0..count).filter(|number| is_written(*number)).count(), count, "{written}");
        assert_eq!(written.lines().count(), count, "{written}");
    }
}

/// The receiver is down for a hundred OOMs, and the agent is killed twice meanwhile. Then the
/// receiver is up again.
#[test]
fn a_receiver_that_is_down_for_long_gets_the_whole_sum() {
    for sink in [TestedSink::Network, TestedSink::Otlp] {
        let destination = Destination::start(sink);
        let server = destination.server().expect("a server");
        server.answer_all(IntakeAnswer::status(503));
        let (_folder, path) = folder_and_path();
        let port = free_port().to_string();
        let variables = [("OOM_WITNESS_STATE", path.as_str()), ("OOM_WITNESS_PORT", port.as_str())];
        let run_process = |numbers: std::ops::Range<usize>, is_killed: bool| {
            let mut script = start_ready(&destination, &variables);
            let mut sender = script.connect();
            for number in numbers {
                assert_eq!(sender.post(&bodies(&numbered_oom(number, 1000))[0]), 200);
                script.invoke();
            }
            // Dropping it kills the agent.
            (!is_killed).then(|| script.end(0))
        };
        run_process(0..40, true);
        assert_eq!(destination.count(), Some(0.0), "{sink:?}");
        run_process(40..70, true);
        assert_eq!(destination.count(), Some(0.0), "{sink:?}");
        server.answer_all(IntakeAnswer::default());
        let output = run_process(70..100, false).expect("the last one ends by SHUTDOWN");
        assert_eq!(destination.count(), Some(100.0), "{sink:?}\n{}", output.stderr);
        output.assert_once("sent: 100, unknown: 0, dropped: 0, overflowed: 0");
    }
}

/// A ready agent that reports to this destination.
fn start_ready(destination: &Destination, variables: &[(&str, &str)]) -> Script {
    let of_sink = destination.variables();
    let of_sink = of_sink.iter().map(|(name, value)| (*name, value.as_str()));
    Script::start_ready(&variables.iter().copied().chain(of_sink).collect::<Vec<_>>())
}
