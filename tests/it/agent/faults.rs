//! Every system call of the agent fails once. The agent lives, no function fails, and nothing
//! counts twice.
//!
//! `support/failing_calls.rs` says how. System calls of the child are in `child/faults.rs`, and an
//! agent that is killed at a system call is in `kills.rs`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::agent_process::AgentProcess;
use super::support::binary::binary;
use super::support::bodies::oom_in_three_bodies;
use super::support::destination::{Destination, TestedSink};
use super::support::failing_calls::{ERRORS, fail_each_call};
use super::support::ports::free_port;
use super::support::sender::post_until_taken;
use super::support::strace::{self, Strace};
use super::support::tolerant_lambda::TolerantLambda;

/// `cargo test` makes one of this many runs. It is no multiple of the number of errors.
const SAMPLE: usize = 11;

/// What two processes of the agent, one after another, wrote and sent.
struct TwoProcesses {
    /// Metrics on stdout.
    lines: usize,
    /// Metrics that another destination received.
    received: f64,
    stderr: String,
}

impl TwoProcesses {
    /// Runs them. `command` starts the first. Each gets an invocation that runs out of memory, an
    /// INVOKE and SHUTDOWN. Both get the same telemetry.
    fn run(command: Command, destination: &Destination, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let before = destination.count();
        let mut both = Self { lines: 0, received: 0.0, stderr: String::new() };
        for command in [command, Command::new(binary())] {
            let (stdout, stderr) = run_process(command, destination, folder.path(), port);
            both.lines += stdout.lines().count();
            both.stderr += &stderr;
        }
        let received = destination.count().zip(before);
        both.received = received.map_or(0.0, |(after, before)| after - before);
        both
    }

    /// Checks that the OOM counted once, on stdout or elsewhere, or was logged as unknown.
    fn assert_once(&self, what: &str) {
        let Self { lines, received, stderr } = self;
        let counted = match lines {
            0 if (*received - 1.0).abs() < f64::EPSILON => 1,
            0 if received.abs() < f64::EPSILON => 0,
            lines if received.abs() < f64::EPSILON => *lines,
            lines => panic!("{what}: {lines} lines, and {received} elsewhere\n{stderr}"),
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
    destination: &Destination,
    folder: &Path,
    port: u16,
) -> (String, String) {
    let lambda = TolerantLambda::start();
    std::fs::write(folder.join("vmstat"), "oom_kill 0\n").expect("a file");
    lambda.set_environment(&mut command, "on-demand", port, folder);
    command.envs(destination.variables());
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
    let (whole, destination) = (Strace::new(&[]), Destination::start(sink));
    TwoProcesses::run(whole.command(), &destination, free_port()).assert_once("without a fault");
    let errors = ERRORS.map(|error| format!("error={error}"));
    fail_each_call(&format!("{sink:?}"), &whole.text(), &errors, SAMPLE, || {
        let (destination, port) = (Destination::start(sink), free_port());
        move |strace: &Strace, what: &str| {
            TwoProcesses::run(strace.command(), &destination, port).assert_once(what);
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

#[test]
fn when_any_system_call_fails_the_oom_counts_once_with_otlp() {
    check_every_fault(TestedSink::Otlp);
}

#[test]
fn when_any_system_call_fails_the_oom_counts_once_with_datagrams() {
    check_every_fault(TestedSink::Datagram);
}
