//! The agent as a process: what it wrote, and how it ended.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use sandbox::ProcStatus;

use super::signals::send_signal_to_group;
use super::wait::PATIENCE;

/// The agent's process. It is killed if the test ends before it.
pub(in crate::agent) struct AgentProcess {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// What the agent wrote to stderr.
pub(in crate::agent) struct AgentOutput {
    pub(in crate::agent) stderr: String,
}

impl AgentProcess {
    /// Starts it with nothing on stdin.
    pub(in crate::agent) fn start(mut command: Command, stdout: Stdio) -> Self {
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().expect("the agent");
        let stdout = collect::<ChildStdout>(child.stdout.take());
        let stderr = collect::<ChildStderr>(child.stderr.take());
        Self { child, stdout, stderr }
    }

    pub(in crate::agent) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(in crate::agent) fn status(&self) -> ProcStatus {
        ProcStatus::read(self.pid()).expect("the agent lives")
    }

    /// The processes that the agent has started.
    pub(in crate::agent) fn child_pids(&self) -> Vec<u32> {
        let pid = self.pid();
        let pids = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let pids = pids.expect("the agent lives");
        pids.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    /// Waits until it has ended with this code. Returns its stdout and stderr.
    pub(in crate::agent) fn wait_for_exit(self, code: i32) -> (String, String) {
        self.wait_for_exit_within(PATIENCE, code)
    }

    fn wait_for_exit_within(mut self, time: Duration, code: i32) -> (String, String) {
        // Its outputs end with it.
        let stdout = self.stdout.recv_timeout(time).expect("the agent ends in time");
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("its children end");
        let status: ExitStatus = self.child.wait().expect("an exit status");
        assert_eq!(status.code(), Some(code), "{status}: {stderr}");
        (stdout, stderr)
    }

    /// Waits until it has ended with this code. It has written this many metrics.
    pub(in crate::agent) fn wait_for_end(self, code: i32, metrics: usize) -> AgentOutput {
        self.wait_for_end_within(PATIENCE, code, metrics)
    }

    /// The same, and it ends within this time.
    pub(in crate::agent) fn wait_for_end_within(
        self,
        time: Duration,
        code: i32,
        metrics: usize,
    ) -> AgentOutput {
        let (stdout, stderr) = self.wait_for_exit_within(time, code);
        assert_metrics(&stdout, metrics);
        AgentOutput { stderr }
    }
}

/// The end of the line of a metric that counts one.
pub(in crate::agent) const COUNT_OF_ONE: &str = "\"aws.lambda.enhanced.out_of_memory\":1}\n";

/// Checks that stdout has this many metrics, and no other line.
pub(in crate::agent) fn assert_metrics(stdout: &str, metrics: usize) {
    assert_eq!(stdout.matches(COUNT_OF_ONE).count(), metrics, "{stdout}");
    assert_eq!(stdout.lines().count(), metrics, "{stdout}");
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Also its tracer and its children.
            send_signal_to_group("KILL", self.pid());
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl AgentOutput {
    /// Checks that one line on stderr has this text.
    pub(in crate::agent) fn assert_once(&self, text: &str) -> &Self {
        let count = self.stderr.lines().filter(|line| line.contains(text)).count();
        assert_eq!(count, 1, "{text}: {}", self.stderr);
        self
    }

    /// Checks the number of warnings and errors.
    pub(in crate::agent) fn assert_warnings(&self, expected: usize) -> &Self {
        let is_warning = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        assert_eq!(self.stderr.lines().filter(is_warning).count(), expected, "{}", self.stderr);
        self
    }

    /// The line with which the agent ends. It has the counters.
    pub(in crate::agent) fn last_line(&self) -> &str {
        let is_last = |line: &&str| line.contains("oom-witness: ends: ");
        self.stderr.lines().find(is_last).unwrap_or_else(|| panic!("{}", self.stderr))
    }
}

fn collect<R: Read + Send + 'static>(stream: Option<R>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
