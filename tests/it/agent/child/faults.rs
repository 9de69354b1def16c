//! Each system call of a child fails, or the child is killed at it. What it reports of the send is
//! true.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::SIGKILL;
use sandbox::{Intake, IntakeAnswer};

use super::{ChildRun, ChildVerdict, point, send_by};
use crate::agent::keys::{SECRET_ARN, aws};
use crate::agent::support::failing_calls::{ERRORS, fail_each_call};
use crate::agent::support::strace::{self, Strace};

/// Where the child sends, and where it first fetches a key.
struct Servers {
    intake: Intake,
    keys: Option<Intake>,
}

impl Servers {
    fn start(is_key_fetched: bool) -> Self {
        let start = || Intake::start().expect("an intake");
        let keys = is_key_fetched.then(start);
        if let Some(keys) = &keys {
            let body = br#"{"SecretString":"the-fetched-key"}"#.to_vec();
            keys.answer_all(IntakeAnswer { status: 200, body, ..IntakeAnswer::default() });
        }
        Self { intake: start(), keys }
    }
}

/// Sends over TLS under strace. Compares what the child reports with what the intake has.
fn assert_true_report(strace: &Strace, servers: &Servers, what: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    let body = point(NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut command = strace.command();
    command.args(["send", "datadog"]);
    let intake = &servers.intake;
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let keys = servers.keys.as_ref().map(Intake::http_url);
    let mut variables = vec![("SSL_CERT_FILE", ca.as_str())];
    if let Some(url) = &keys {
        variables.extend(aws(url));
        variables.push(("DD_API_KEY_SECRET_ARN", SECRET_ARN));
    }
    let run = send_by(command, &intake.https_url(), &variables, &body);
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
fn check_every_call(is_key_fetched: bool, injections: &[String], sample: usize) {
    if !strace::available() {
        return;
    }
    let (whole, servers) = (Strace::new(&[]), Servers::start(is_key_fetched));
    assert_true_report(&whole, &servers, "without a fault");
    fail_each_call("child", &whole.text(), injections, sample, || {
        let servers = Servers::start(is_key_fetched);
        move |strace: &Strace, what: &str| assert_true_report(strace, &servers, what)
    });
}

#[test]
fn what_a_child_reports_is_true_when_any_system_call_fails() {
    check_every_call(false, &ERRORS.map(|error| format!("error={error}")), 13);
}

#[test]
fn what_a_child_reports_is_true_when_it_is_killed_at_any_system_call() {
    check_every_call(false, &["signal=KILL".into()], 2);
}

#[test]
fn what_a_child_with_a_fetched_key_reports_is_true_when_any_system_call_fails() {
    check_every_call(true, &ERRORS.map(|error| format!("error={error}")), 13);
}

#[test]
fn what_a_child_with_a_fetched_key_reports_is_true_when_it_is_killed_at_any_system_call() {
    check_every_call(true, &["signal=KILL".into()], 2);
}
