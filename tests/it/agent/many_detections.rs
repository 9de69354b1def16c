//! Many detections at once, or a sink that is down for a long time. The sum that arrives is right.

use std::io::{Read, Seek};
use std::process::Command;

use sandbox::{Intake, IntakeAnswer};

use super::journal::folder_and_path;
use super::support::agent_process::AgentOutput;
use super::support::binary::binary;
use super::support::bodies::{bodies, numbered_oom};
use super::support::intakes::assert_points;
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
fn a_kill_with_many_invocations_open_counts_each_at_a_network_sink() {
    for count in [64, 256, 300_u16] {
        let intake = Intake::start().expect("an intake");
        let url = intake.http_url();
        let script = Script::start_ready(&[MANAGED, ("DD_API_KEY", "k"), ("DD_URL", &url)]);
        let mut sender = script.connect();
        for body in bodies(&killed_together(count.into())) {
            assert_eq!(sender.post(body), 200);
        }
        let output = script.end(0);
        assert_points(&intake, count.into());
        output.assert_once(&format!(
            "sent: {count}, unknown: 0, dropped: 0, overflowed: 0, failed: 0"
        ));
        assert!(
            intake.requests().len() <= usize::from(count) / 8,
            "{} requests",
            intake.requests().len()
        );
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

/// The intake is down for a hundred OOMs, and the agent is killed twice meanwhile. Then the intake
/// is up again.
#[test]
fn an_intake_that_is_down_for_long_gets_the_whole_sum() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer::status(503));
    let (_folder, path) = folder_and_path();
    let (url, port) = (intake.http_url(), free_port().to_string());
    let variables = [
        ("OOM_WITNESS_STATE", path.as_str()),
        ("OOM_WITNESS_PORT", port.as_str()),
        ("DD_API_KEY", "k"),
        ("DD_URL", &url),
    ];
    let run_process = |numbers: std::ops::Range<usize>, is_killed: bool| -> Option<AgentOutput> {
        let mut script = Script::start_ready(&variables);
        let mut sender = script.connect();
        for number in numbers {
            assert_eq!(sender.post(&bodies(&numbered_oom(number, 1000))[0]), 200);
            script.invoke();
        }
        if is_killed {
            // Dropping it kills the agent.
            return None;
        }
        Some(script.end(0))
    };
    run_process(0..40, true);
    assert_points(&intake, 0);
    run_process(40..70, true);
    assert_points(&intake, 0);
    intake.answer_all(IntakeAnswer::default());
    let output = run_process(70..100, false).expect("the last one ends by SHUTDOWN");
    assert_points(&intake, 100);
    output.assert_once("sent: 100, unknown: 0, dropped: 0, overflowed: 0");
}
