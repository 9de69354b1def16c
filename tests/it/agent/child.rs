//! The child that sends. What it reports of a send is true, whatever fails in it.
//!
//! The agent believes the child's exit code, and the byte that it writes before the body leaves. So
//! the tests read both as the agent does, and compare them with what the intake has.
//!
//! | File | What it tests |
//! |---|---|
//! | `faults` | each system call of the child fails, or the child is killed at it |
//! | `proxies` | requests through a proxy |
//! | `certificates` | certificates of the user and of the server |
//!
//! What the agent then does with a detection is in `sinks`. Bad arguments are in `cli`.

mod certificates;
mod faults;
mod proxies;

use std::env;
use std::fs;
use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};

use sandbox::{Intake, IntakeAnswer};

use super::support::binary::binary;
use super::support::intakes::hanging_intake;
use super::support::script::Script;
use super::support::signals::send_signal;

/// One run of the child: how it ended, and what it wrote.
pub(super) struct ChildRun {
    status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// What the agent concludes from a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ChildVerdict {
    Taken,
    NotTaken,
    Unknown,
    Refused,
}

impl ChildRun {
    /// Reads it as the agent does. `agent/src/child/mod.rs` explains the exit codes.
    fn verdict(&self) -> ChildVerdict {
        match (self.status.code(), self.stdout.as_str()) {
            (Some(0), "\n") => ChildVerdict::Taken,
            (Some(1), _) => ChildVerdict::NotTaken,
            (Some(2), _) => ChildVerdict::Unknown,
            (Some(3), _) => ChildVerdict::Refused,
            (_, "") => ChildVerdict::NotTaken,
            (_, "\n") => ChildVerdict::Unknown,
            other => panic!("{other:?}: {}", self.stderr),
        }
    }

    /// Checks the verdict, and that a failure gives one line, which says why.
    pub(super) fn assert_verdict(&self, verdict: ChildVerdict, why: &str) {
        assert_eq!(self.verdict(), verdict, "{}: {}", self.status, self.stderr);
        let lines = usize::from(verdict != ChildVerdict::Taken);
        assert_eq!(self.stderr.lines().count(), lines, "{}", self.stderr);
        assert!(self.stderr.contains(why), "{why}: {}", self.stderr);
    }
}

/// Runs `command`, which becomes a child that sends `body` to `url`.
fn send_by(mut command: Command, url: &str, variables: &[(&str, &str)], body: &str) -> ChildRun {
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.env("DD_API_KEY", "the-key").env("DD_URL", url).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    // It may end before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(body.as_bytes());
    let output = child.wait_with_output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    ChildRun { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a child that sends a body to Datadog at `url`.
pub(super) fn send(url: &str, variables: &[(&str, &str)]) -> ChildRun {
    send_to("datadog", url, variables)
}

/// Runs a child that sends a body to this sink. `url` is Datadog's.
fn send_to(sink: &str, url: &str, variables: &[(&str, &str)]) -> ChildRun {
    let mut command = Command::new(binary());
    command.args(["send", sink]);
    send_by(command, url, variables, &point(0))
}

/// Runs a child that sends a body to an OTLP receiver at `url`.
pub(super) fn send_otlp(url: &str, variables: &[(&str, &str)]) -> ChildRun {
    let mut command = Command::new(binary());
    command.args(["send", "otlp"]);
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", url)];
    send_by(command, url, &[&endpoint, variables].concat(), "a body")
}

/// A body that names its run.
fn point(number: usize) -> String {
    format!(
        r#"{{"series":[{{"metric":"aws.lambda.enhanced.out_of_memory","points":[[{number},[1.0]]]}}]}}"#
    )
}

/// Anybody on the machine can read the arguments with ps(1).
#[test]
fn neither_key_nor_body_is_an_argument_of_the_child() {
    let intake = hanging_intake();
    let mut script = Script::start_in_a_send(&intake, &[]);
    let [child] = script.child_pids()[..] else { panic!("one child") };
    let command_line = fs::read_to_string(format!("/proc/{child}/cmdline")).expect("it lives");
    assert_eq!(command_line, "oom-witness\0send\0datadog\0");
    script.wait_for_next();
    script.end(0).assert_once("unknown: 1");
}

/// SIGSEGV stands for a crash.
#[test]
fn the_agent_logs_a_child_that_a_signal_ended() {
    let intake = hanging_intake();
    let mut script = Script::start_in_a_send(&intake, &[]);
    let [child] = script.child_pids()[..] else { panic!("one child") };
    send_signal("SEGV", child);
    script.wait_for_next();
    script
        .end(0)
        .assert_once("sending to datadog ended by signal 11: Unknown")
        .assert_once("unknown: 1");
}

#[test]
fn only_the_status_of_a_large_error_page_counts() {
    let intake = Intake::start().expect("an intake");
    let body = "<p>Service Unavailable</p>\n".repeat(8000);
    for (status, verdict, why) in [
        (500, ChildVerdict::NotTaken, "it answered 500"),
        (504, ChildVerdict::Unknown, "it answered 504"),
        (403, ChildVerdict::Refused, "it answered 403"),
        (202, ChildVerdict::Taken, ""),
    ] {
        intake.answer_next(IntakeAnswer {
            status,
            body: body.clone().into(),
            ..IntakeAnswer::default()
        });
        send(&intake.http_url(), &[]).assert_verdict(verdict, why);
    }
}

/// The limit of its address space rises from one that is too small for any program to one that is
/// enough.
#[test]
fn a_child_without_memory_reports_what_the_sink_has() {
    let intake = Intake::start().expect("an intake");
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let limited = |limit_kb: usize, again: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("ulimit -v {limit_kb}; exec \"$0\" send datadog {again}"));
        shell.arg(binary());
        send_by(shell, &intake.https_url(), &[("SSL_CERT_FILE", &ca)], &point(limit_kb))
    };
    let verdict = |limit_kb: usize| {
        let before = intake.requests().len();
        let run = limited(limit_kb, "");
        let is_there = intake.requests().len() > before;
        assert_eq!(is_there, run.verdict() == ChildVerdict::Taken, "{limit_kb}: {}", run.stderr);
        // The kernel ends a program that it cannot load, without a line.
        let is_loaded = run.status.code().is_some();
        assert!(is_there || !is_loaded || !run.stderr.is_empty(), "{limit_kb}: {}", run.status);
        run.verdict()
    };
    let limits = (1000..30_000).step_by(LIMIT_STEP_KB);
    let verdicts: Vec<_> = limits.map(|limit_kb| (limit_kb, verdict(limit_kb))).collect();
    assert_eq!(verdicts.first(), Some(&(1000, ChildVerdict::NotTaken)));
    let enough = verdicts.iter().find(|(_, verdict)| *verdict == ChildVerdict::Taken);
    let (enough, _) = enough.expect("30 MB are enough");

    // Just below `enough` there is room for the program, but not for all of its heap.
    let mut nearly = (enough - LIMIT_STEP_KB..*enough).step_by(4);
    let lacks = |limit_kb: &usize| limited(*limit_kb, "").status.code() == Some(NO_MEMORY);
    let nearly = nearly.find(lacks).expect("a limit between the two");
    assert_eq!(limited(nearly, "").stderr, "oom-witness: no memory is left for this process\n");
    let again = limited(nearly, "again");
    assert_eq!((again.status.code(), again.stderr.as_str()), (Some(NO_MEMORY), ""));
}

const LIMIT_STEP_KB: usize = 250;

/// The exit code of a child whose memory ran out.
const NO_MEMORY: i32 = 4;
