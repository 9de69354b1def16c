//! Every system call of the agent fails once. The agent lives, no function fails, and nothing
//! counts twice.
//!
//! `support/failing_calls.rs` says how. System calls of the child are in `child/faults.rs`, and an
//! agent that is killed at a system call is in `kills.rs`.

use std::path::Path;
use std::process::{Command, Stdio};

use sandbox::Intake;

use super::support::agent_process::AgentProcess;
use super::support::binary::binary;
use super::support::bodies::oom_in_three_bodies;
use super::support::failing_calls::{ERRORS, fail_each_call};
use super::support::ports::free_port;
use super::support::sender::post_until_taken;
use super::support::strace::{self, Strace};
use super::support::tolerant_lambda::TolerantLambda;

/// Where detections go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TestedSink {
    Emf,
    Network,
}

/// `cargo test` makes one of this many runs. It is no multiple of the number of errors.
const SAMPLE: usize = 11;

/// What two processes of the agent, one after another, wrote and sent.
struct TwoProcesses {
    metrics: usize,
    points: f64,
    stderr: String,
}

impl TwoProcesses {
    /// Runs them. `command` starts the first. Each gets an invocation that runs out of memory, an
    /// INVOKE and SHUTDOWN. Both get the same telemetry.
    fn run(command: Command, sink: TestedSink, intake: &Intake, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let points_before = intake.points();
        let mut both = Self { metrics: 0, points: 0.0, stderr: String::new() };
        for command in [command, Command::new(binary())] {
            let (stdout, stderr) = run_process(command, sink, intake, folder.path(), port);
            both.metrics += stdout.lines().count();
            both.stderr += &stderr;
        }
        both.points = intake.points() - points_before;
        both
    }

    /// Checks that the OOM counted once, on stdout or at the intake, or was logged as unknown.
    fn assert_once(&self, sink: TestedSink, what: &str) {
        let Self { metrics, points, stderr } = self;
        let counted = match sink {
            TestedSink::Emf => *metrics,
            TestedSink::Network if (*points - 1.0).abs() < f64::EPSILON => 1,
            TestedSink::Network if points.abs() < f64::EPSILON => 0,
            TestedSink::Network => panic!("{what}: {points} points\n{stderr}"),
        };
        let unknown = stderr.lines().filter(|line| line.contains("unknown: 1")).count();
        let is_once = counted == 1 || counted == 0 && unknown == 1;
        assert!(is_once, "{what}: counted {counted}\n{stderr}");
        assert!(!stderr.contains("panicked"), "{what}\n{stderr}");
    }
}

/// Runs one process of the agent. Returns its stdout and stderr.
fn run_process(
    mut command: Command,
    sink: TestedSink,
    intake: &Intake,
    folder: &Path,
    port: u16,
) -> (String, String) {
    let lambda = TolerantLambda::start();
    std::fs::write(folder.join("vmstat"), "oom_kill 0\n").expect("a file");
    lambda.set_environment(&mut command, "on-demand", port, folder);
    if sink == TestedSink::Network {
        command.env("DD_API_KEY", "the-key").env("DD_URL", intake.http_url());
    }
    let agent = AgentProcess::start(command, Stdio::piped());
    let port = lambda.wait_for_ready();
    for body in oom_in_three_bodies() {
        post_until_taken(port, &body);
    }
    lambda.invoke();
    lambda.shut_down();
    agent.wait_for_exit(0)
}

/// Makes each system call fail with each error, in one run each.
fn check_every_fault(sink: TestedSink) {
    if !strace::available() {
        return;
    }
    let (whole, intake) = (Strace::new(&[]), Intake::start().expect("an intake"));
    let both = TwoProcesses::run(whole.command(), sink, &intake, free_port());
    both.assert_once(sink, "without a fault");
    let errors = ERRORS.map(|error| format!("error={error}"));
    fail_each_call(&format!("{sink:?}"), &whole.text(), &errors, SAMPLE, || {
        let (intake, port) = (Intake::start().expect("an intake"), free_port());
        move |strace: &Strace, what: &str| {
            TwoProcesses::run(strace.command(), sink, &intake, port).assert_once(sink, what);
        }
    });
}

#[test]
fn when_any_system_call_fails_the_oom_counts_once_with_emf() {
    check_every_fault(TestedSink::Emf);
}

#[test]
fn when_any_system_call_fails_the_oom_counts_once_with_a_network_sink() {
    check_every_fault(TestedSink::Network);
}
