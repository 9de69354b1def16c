//! Many detections at once, or a sink that is down for long. The sum that arrives is right.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use sandbox::{Intake, IntakeAnswer};

use super::support::binary::binary;
use super::support::cost::port;
use super::support::sandboxed_agent::bodies;
use super::support::script::{AgentRecord, INVOKE, Script};

const MANAGED: (&str, &str) = ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances");

/// `count` invocations that run at once and fail by one kill. Each has a report.
fn killed_together(count: usize) -> String {
    let starts: String =
        (0..count).map(|number| format!("{number} start r{number:04}\n")).collect();
    let report = |number| format!("{} report r{number:04} error - Runtime.OutOfMemory\n", 5000);
    format!("{starts}--\n{}", (0..count).map(report).collect::<String>())
}

/// One OOM, of the invocation with this number.
fn oom(number: usize) -> String {
    let at = 1000 * number;
    format!(
        "{at} start r{number}
         {} done r{number} error Runtime.OutOfMemory
         {} report r{number} error 192/192 Runtime.OutOfMemory",
        at + 100,
        at + 110
    )
}

fn assert_points(intake: &Intake, expected: usize) {
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let expected = expected as f64;
    assert!((intake.points() - expected).abs() < f64::EPSILON, "{} points", intake.points());
}

#[test]
fn a_kill_with_many_invocations_open_counts_each_at_a_network_sink() {
    for count in [64, 256, 300] {
        let intake = Intake::start().expect("an intake");
        let url = intake.http_url();
        let script = Script::ready(&[MANAGED, ("DD_API_KEY", "k"), ("DD_URL", &url)]);
        let mut sender = script.sender();
        for body in bodies(&killed_together(count)) {
            assert_eq!(sender.post(body), 200);
        }
        let left = script.end(0);
        assert_points(&intake, count);
        left.once(&format!("sent: {count}, unknown: 0, dropped: 0, overflowed: 0, failed: 0"));
        assert!(intake.requests().len() <= count / 8, "{} requests", intake.requests().len());
    }
}

/// When stdout takes every line, no detection is joined, and each line has its request id. A file
/// takes everything. A pipe may be full until somebody reads it.
#[test]
fn a_kill_with_many_invocations_open_is_a_line_for_each() {
    for count in [64, 256] {
        let mut file = tempfile::tempfile().expect("a file");
        let stdout = file.try_clone().expect("a descriptor").into();
        let script = Script::start_by(Command::new(binary()), stdout, &[MANAGED]).prepared();
        let mut sender = script.sender();
        for body in bodies(&killed_together(count)) {
            assert_eq!(sender.post(body), 200);
        }
        script.end(0).once(&format!("detections: {count}, evicted: 0,"));
        file.rewind().expect("its beginning");
        let mut written = String::new();
        file.read_to_string(&mut written).expect("text");
        let is_told = |number| written.contains(&format!(r#""requestId":"r{number:04}""#));
        assert_eq!((0..count).filter(|number| is_told(*number)).count(), count, "{written}");
        assert_eq!(written.lines().count(), count, "{written}");
    }
}

/// The intake is down for a hundred OOMs, and the agent is killed twice meanwhile. Then the intake
/// is up again.
#[test]
fn an_intake_that_is_down_for_long_gets_the_whole_sum() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer::status(503));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    let (url, port) = (intake.http_url(), port());
    let variables = [
        ("OOM_WITNESS_STATE", path.as_str()),
        ("OOM_WITNESS_PORT", &port.to_string()),
        ("DD_API_KEY", "k"),
        ("DD_URL", &url),
    ];
    let live = |numbers: std::ops::Range<usize>, is_killed: bool| -> Option<AgentRecord> {
        let mut script = Script::start_by(Command::new(binary()), Stdio::piped(), &variables);
        script.port = port;
        let mut script = script.prepared();
        let mut sender = script.sender();
        for number in numbers {
            assert_eq!(sender.post(&bodies(&oom(number))[0]), 200);
            script.give(INVOKE);
            script.next();
        }
        if is_killed {
            // Dropping it kills the agent.
            return None;
        }
        Some(script.end(0))
    };
    live(0..40, true);
    assert_points(&intake, 0);
    live(40..70, true);
    assert_points(&intake, 0);
    intake.answer_all(IntakeAnswer::default());
    let left = live(70..100, false).expect("the last one ends by SHUTDOWN");
    assert_points(&intake, 100);
    left.once("sent: 100, unknown: 0, dropped: 0, overflowed: 0");
}
