//! Each system call of a child fails, or the child is killed at it. What it reports of the send is
//! true.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::SIGKILL;
use sandbox::Intake;

use super::{ChildRun, ChildVerdict, point, send_by};
use crate::agent::support::failing_calls::{ERRORS, fail_each_call};
use crate::agent::support::strace::{self, Strace};

/// Sends over TLS under strace. Compares what the child reports with what the intake has.
fn assert_true_report(strace: &Strace, intake: &Intake, what: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    let body = point(NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut command = strace.command();
    command.args(["send", "datadog"]);
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let run = send_by(command, &intake.https_url(), &[("SSL_CERT_FILE", &ca)], &body);
    let is_there = intake.requests().iter().any(|request| request.body == body.as_bytes());
    let verdict = run.verdict();
    match verdict {
        ChildVerdict::Taken => assert!(is_there, "{what}: taken, but not there"),
        ChildVerdict::NotTaken | ChildVerdict::Refused => {
            assert!(!is_there, "{what}: {verdict:?}, but there");
        }
        ChildVerdict::Unknown => {}
    }
    let is_reported = match run.status.signal() {
        None => run.stderr.lines().count() == 1 || what.contains(" write "),
        // The agent logs it: `the_agent_logs_a_child_that_a_signal_ended`.
        Some(SIGKILL) => what.contains("KILL"),
        // std panics if a hash map gets no random keys. In the layer it ends without a line.
        Some(_) => !run.stderr.is_empty() || what.contains(" getrandom "),
    };
    let ChildRun { status, stderr, .. } = &run;
    assert!(
        verdict == ChildVerdict::Taken || is_reported,
        "{what}: {verdict:?}, {status}: {stderr}"
    );
}

/// Lets each system call have each of `injections`, in one run each.
fn check_every_call(injections: &[String], sample: usize) {
    if !strace::available() {
        return;
    }
    let (whole, intake) = (Strace::new(&[]), Intake::start().expect("an intake"));
    assert_true_report(&whole, &intake, "without a fault");
    fail_each_call("child", &whole.text(), injections, sample, || {
        let intake = Intake::start().expect("an intake");
        move |strace: &Strace, what: &str| assert_true_report(strace, &intake, what)
    });
}

#[test]
fn what_a_child_reports_is_true_when_any_system_call_fails() {
    check_every_call(&ERRORS.map(|error| format!("error={error}")), 13);
}

#[test]
fn what_a_child_reports_is_true_when_it_is_killed_at_any_system_call() {
    check_every_call(&["signal=KILL".into()], 2);
}
