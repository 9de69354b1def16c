//! The agent in the sandbox's environment, without a function or a cgroup. The test says what
//! happens.

use sandbox::{
    Builder, Environment, Extension, Function, Line, OutputStream, ProcStatus, ShutdownReason,
    Status,
};
use serde_json::Value;

use super::binary::binary;
use super::bodies::bodies;
use super::cost::assert_cost;
use super::ports::free_port;
use super::sender::TelemetrySender;
use super::signals::send_signal;
use super::wait::PATIENCE;

/// The agent and its environment. It has registered and subscribed.
pub(in crate::agent) struct SandboxedAgent {
    pub(in crate::agent) environment: Environment,
    pub(in crate::agent) port: u16,
    idle: ProcStatus,
}

/// What the agent wrote to stdout and stderr.
pub(in crate::agent) struct SandboxedOutput {
    lines: Vec<Line>,
}

impl SandboxedAgent {
    /// Starts it with the defaults: EMF on stdout.
    pub(in crate::agent) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// Starts it with what `change` adds: variables, switches, faults.
    pub(in crate::agent) fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let port = free_port();
        let builder = Environment::builder()
            .function(Function::Synthetic)
            .memory_mb(192)
            .variable("OOM_WITNESS_PORT", port.to_string())
            .extension(Extension::new(binary()));
        let environment = change(builder).start().expect("an environment");
        assert_eq!(environment.init().status, Status::Success, "{:?}", environment.init());
        let idle = environment.extension_status().expect("the agent lives");
        Self { environment, port, idle }
    }

    /// Sends INVOKE. The agent takes it and asks for the next event.
    pub(in crate::agent) fn invoke(&mut self, request_id: &str) {
        assert!(self.environment.send_invoke(request_id).expect("an event"), "{request_id}");
    }

    /// Posts the bodies of a scenario. The agent takes each.
    pub(in crate::agent) fn post_scenario(&self, scenario: &str) {
        for body in bodies(scenario) {
            self.post(body.as_bytes());
        }
    }

    /// Posts one body. The agent takes it.
    pub(in crate::agent) fn post(&self, body: &[u8]) {
        assert_eq!(self.environment.post_bytes(body).expect("statuses"), [Some(200)]);
    }

    /// Connects to the telemetry listener, so that the test chooses each byte.
    pub(in crate::agent) fn connect(&self) -> TelemetrySender {
        let path = self.environment.telemetry_path().expect("a subscription");
        TelemetrySender::connect(self.port, &path)
    }

    /// Checks the agent's cost.
    pub(in crate::agent) fn assert_cost(&self) {
        let now = self.environment.extension_status().expect("the agent lives until SHUTDOWN");
        assert_cost(self.idle, now);
    }

    /// Ends the agent by SHUTDOWN. Its metrics on stdout have this sum.
    pub(in crate::agent) fn end(self, expected: u32) -> SandboxedOutput {
        self.end_by(ShutdownReason::Spindown, expected)
    }

    /// The same for another reason.
    pub(in crate::agent) fn end_by(
        mut self,
        reason: ShutdownReason,
        expected: u32,
    ) -> SandboxedOutput {
        self.shut_down(reason);
        let output = SandboxedOutput { lines: self.environment.extension_lines() };
        let count: f64 = output.counts_and_metrics().iter().map(|(count, _)| count).sum();
        assert!((count - f64::from(expected)).abs() < f64::EPSILON, "{:?}", output.lines);
        output
    }

    /// Ends the agent by SHUTDOWN and starts another in the same environment.
    pub(in crate::agent) fn restart(&mut self, reason: ShutdownReason) {
        self.shut_down(reason);
        self.start_again();
    }

    /// Kills the agent, as the kernel would, and starts another in the same environment.
    pub(in crate::agent) fn kill(&mut self) {
        let pid = self.environment.extension_pid().expect("the agent lives");
        send_signal("KILL", pid);
        let has_ended = |_: &[Line]| self.environment.extension_pid().is_none();
        let ended = self.environment.wait_for_lines(PATIENCE, has_ended);
        assert!(ended.expect("a wait"), "the agent outlives SIGKILL");
        self.start_again();
    }

    fn start_again(&mut self) {
        self.environment.restart().expect("a start");
        assert_eq!(self.environment.init().status, Status::Success);
        self.idle = self.environment.extension_status().expect("the agent lives");
    }

    fn shut_down(&mut self, reason: ShutdownReason) {
        self.assert_cost();
        let shutdown = self.environment.shutdown(reason).expect("a shutdown");
        let code = shutdown.exits.first().and_then(|exit| exit.1).and_then(|exit| exit.code());
        let lines = self.environment.extension_lines();
        assert_eq!(code, Some(0), "the agent ends before the deadline: {lines:?}");
        assert_eq!(self.environment.written_secret(), None);
        assert_cost(self.idle, self.environment.peak().expect("it was measured"));
    }
}

impl SandboxedOutput {
    /// The metrics on stdout. Every line there is one.
    pub(in crate::agent) fn metrics(&self) -> Vec<Value> {
        self.counts_and_metrics().into_iter().map(|(_, metric)| metric).collect()
    }

    /// The metrics with their counts. A count is more than 1 only if stdout was not read in time.
    fn counts_and_metrics(&self) -> Vec<(f64, Value)> {
        let stdout = self.lines.iter().filter(|line| line.stream == OutputStream::Stdout);
        let metric = |line: &Line| {
            let metric = sandbox::emf_lines(std::slice::from_ref(line)).pop();
            let metric = metric.unwrap_or_else(|| panic!("not a metric: {}", line.text));
            (metric.value, metric.line)
        };
        stdout.map(metric).collect()
    }

    /// The lines on stderr that contain `text`.
    pub(in crate::agent) fn stderr_lines(&self, text: &str) -> Vec<&str> {
        let stderr = self.lines.iter().filter(|line| line.stream == OutputStream::Stderr);
        stderr.map(|line| line.text.as_str()).filter(|line| line.contains(text)).collect()
    }

    /// How many sentences for a human there are. Each detection for a network sink has one.
    pub(in crate::agent) fn count_sentences(&self) -> usize {
        self.stderr_lines("run out of memory").len() + self.stderr_lines("ran out of memory").len()
    }

    /// Checks that one line on stderr has this text.
    pub(in crate::agent) fn assert_once(&self, text: &str) -> &Self {
        assert_eq!(self.stderr_lines(text).len(), 1, "{text}: {:?}", self.lines);
        self
    }

    /// Checks that there is no warning and no error.
    pub(in crate::agent) fn assert_no_warning(&self) -> &Self {
        let problems = ["WARN", "ERROR", "panicked"].map(|word| self.stderr_lines(word)).concat();
        assert!(problems.is_empty(), "{problems:?}");
        self
    }
}
