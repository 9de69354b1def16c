//! SHUTDOWN: what still arrives counts, and the agent ends before its deadline.

use std::time::Duration;

use sandbox::{ShutdownReason, Switches};

use super::support::sandboxed_agent::{Life, OOM, bodies};
use super::support::script::{Script, shutdown};

const OPEN: &str = "100 start A\n 110 log java.lang.OutOfMemoryError: Java heap space";

#[test]
fn shutdown_as_the_first_event() {
    Life::start().end(0).quietly();
    Script::ready(&[]).end(0).warnings(0);
}

#[test]
fn a_deadline_that_has_passed_or_is_missing() {
    for deadline in ["0", "1", "-5", "1.5", "null", "\"soon\"", "99999999999999999999999"] {
        let mut script = Script::ready(&[]);
        assert_eq!(script.sender().post(&bodies(OPEN)[0]), 200);
        script.give(&format!(
            r#"{{"eventType":"SHUTDOWN","shutdownReason":"failure","deadlineMs":{deadline}}}"#
        ));
        script.ended(0, 1).warnings(0);
    }
}

/// Half of the body had arrived when SHUTDOWN came. The other half has the evidence.
#[test]
fn a_report_that_arrives_during_shutdown_counts() {
    let mut script = Script::ready(&[]);
    let body = &bodies(OOM)[0];
    let mut sender = script.sender();
    let (begin, rest) = body.split_at(20);
    sender.write(sender.head(body.len()));
    sender.write(begin);
    script.give(&shutdown("failure", 2000));
    sender.write(rest);
    assert_eq!(sender.status(), 200);
    script.ended(0, 1).warnings(0);
}

/// A suspicion waits for the report, which may come on another connection.
#[test]
fn a_connection_that_opens_during_shutdown_counts() {
    let mut script = Script::ready(&[]);
    let [open, rest] =
        &bodies(&format!("{OPEN}\n--\n200 done A error\n210 report A error 94/192"))[..]
    else {
        panic!("two bodies");
    };
    assert_eq!(script.sender().post(open), 200);
    script.give(&shutdown("failure", 2000));
    assert_eq!(script.sender().post(rest), 200);
    script.ended(0, 1).warnings(0);
}

/// An invocation is open whose end Lambda may still report. The agent does not stop after silence.
#[test]
fn an_end_that_is_reported_late_in_shutdown_counts() {
    let mut script = Script::ready(&[]);
    assert_eq!(script.sender().post(&bodies("100 start A")[0]), 200);
    let mut sender = script.sender();
    script.give(&shutdown("failure", 2000));
    // Longer than the silence that otherwise ends the waiting.
    std::thread::sleep(Duration::from_millis(600));
    let end = &bodies("200 done A error Runtime.OutOfMemory")[0];
    assert_eq!(sender.post(end), 200);
    script.ended(0, 1).warnings(0);
}

#[test]
fn shutdown_itself_settles_suspicions() {
    for (reason, confidence) in [
        (ShutdownReason::Failure, "confirmed"),
        (ShutdownReason::Timeout, "confirmed"),
        (ShutdownReason::Spindown, "suspected"),
    ] {
        let mut life = Life::start();
        life.invoke("A");
        life.tell(
            "100 start A\n 110 log FATAL ERROR: Reached heap limit Allocation failed - \
                   JavaScript heap out of memory",
        );
        let metric = life.end_by(reason, 1).metrics().remove(0);
        assert_eq!(metric["Confidence"], confidence, "{reason:?}");
    }
}

#[test]
fn a_sender_that_never_ends_does_not_hold_the_agent() {
    let life = Life::start();
    let mut sender = life.sender();
    sender.write(sender.head(1000));
    life.end(0).quietly();
    sender.is_closed();
}

/// At the deadline the sandbox kills the agent. Then there is no exit code.
#[test]
fn a_short_deadline_is_kept_with_an_attempt_still_open() {
    let switches = Switches { shutdown_limit: Duration::from_millis(200), ..Switches::default() };
    let mut life = Life::with(|builder| builder.switches(switches));
    life.invoke("A");
    life.tell(OPEN);
    life.end_by(ShutdownReason::Failure, 1).quietly();
}

#[test]
fn the_last_line_says_what_was_done() {
    let mut life = Life::start();
    life.invoke("A");
    life.tell(OOM);
    life.end(1).once("watches sandbox-function").once("ends: ").once("written: 1").quietly();
}
