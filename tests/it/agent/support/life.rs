//! The agent in the sandbox's environment, without a function or a cgroup. The test says what
//! happens.

use std::process::Command;
use std::time::Duration;

use oom_witness_tests::{EventScript, ScriptStep};
use sandbox::{
    Builder, Environment, Extension, Function, Line, OutputStream, ProcStatus, ShutdownReason,
    Status,
};
use serde_json::Value;

use super::binary::binary;
use super::cost::{assert_frugal, port};
use super::sender::Sender;

/// An environment in which the agent waits for its first event.
pub(in crate::agent) struct Life {
    pub(in crate::agent) environment: Environment,
    pub(in crate::agent) port: u16,
    idle: ProcStatus,
}

/// What the agent wrote.
pub(in crate::agent) struct LifeRecord {
    lines: Vec<Line>,
}

impl Life {
    /// With the defaults: EMF on stdout.
    pub(in crate::agent) fn start() -> Self {
        Self::with(|builder| builder)
    }

    /// With what `change` adds: variables, switches, faults.
    pub(in crate::agent) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let port = port();
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
    pub(in crate::agent) fn tell(&self, scenario: &str) {
        for body in bodies(scenario) {
            self.post(body.as_bytes());
        }
    }

    /// Posts one body. The agent takes it.
    pub(in crate::agent) fn post(&self, body: &[u8]) {
        assert_eq!(self.environment.post_bytes(body).expect("statuses"), [Some(200)]);
    }

    /// A connection of the test's own to the listener.
    pub(in crate::agent) fn sender(&self) -> Sender {
        let path = self.environment.telemetry_path().expect("a subscription");
        Sender::connect(self.port, &path)
    }

    /// Holds the agent to its cost now.
    pub(in crate::agent) fn assert_frugal(&self) {
        let now = self.environment.extension_status().expect("the agent lives until SHUTDOWN");
        assert_frugal(self.idle, now);
    }

    /// Ends the agent. It has counted this often on stdout.
    pub(in crate::agent) fn end(self, expected: u32) -> LifeRecord {
        self.end_by(ShutdownReason::Spindown, expected)
    }

    /// The same for another reason.
    pub(in crate::agent) fn end_by(mut self, reason: ShutdownReason, expected: u32) -> LifeRecord {
        self.shut_down(reason);
        let said = LifeRecord { lines: self.environment.extension_lines() };
        let count: f64 = said.read().iter().map(|(value, _)| value).sum();
        assert!((count - f64::from(expected)).abs() < f64::EPSILON, "{:?}", said.lines);
        said
    }

    /// Ends the agent by SHUTDOWN and starts another in the same environment.
    pub(in crate::agent) fn restart(&mut self, reason: ShutdownReason) {
        self.shut_down(reason);
        self.start_again();
    }

    /// Kills the agent, as the kernel would, and starts another in the same environment.
    pub(in crate::agent) fn kill(&mut self) {
        let pid = self.environment.extension_pid().expect("the agent lives");
        let pid = pid.to_string();
        let killed = Command::new("/bin/sh").args(["-c", "kill -9 $0", &pid]).status();
        assert!(killed.expect("a shell").success());
        let has_ended = |_: &[Line]| self.environment.extension_pid().is_none();
        let ended = self.environment.wait_for_lines(Duration::from_secs(60), has_ended);
        assert!(ended.expect("a wait"), "the agent outlives SIGKILL");
        self.start_again();
    }

    fn start_again(&mut self) {
        self.environment.restart().expect("a start");
        assert_eq!(self.environment.init().status, Status::Success);
        self.idle = self.environment.extension_status().expect("the agent lives");
    }

    fn shut_down(&mut self, reason: ShutdownReason) {
        self.assert_frugal();
        let shutdown = self.environment.shutdown(reason).expect("a shutdown");
        let code = shutdown.exits.first().and_then(|exit| exit.1).and_then(|exit| exit.code());
        let lines = self.environment.extension_lines();
        assert_eq!(code, Some(0), "ends by itself before the deadline: {lines:?}");
        assert_frugal(self.idle, self.environment.peak().expect("it was measured"));
    }
}

impl LifeRecord {
    /// The metrics on stdout. Every line there is one.
    pub(in crate::agent) fn metrics(&self) -> Vec<Value> {
        self.read().into_iter().map(|(_, line)| line).collect()
    }

    /// Their counts. One is more than 1 only if stdout was not read in time.
    fn read(&self) -> Vec<(f64, Value)> {
        let stdout = self.lines.iter().filter(|line| line.stream == OutputStream::Stdout);
        let metric = |line: &Line| {
            let metric = sandbox::emf_lines(std::slice::from_ref(line)).pop();
            let metric = metric.unwrap_or_else(|| panic!("not a metric: {}", line.text));
            (metric.value, metric.line)
        };
        stdout.map(metric).collect()
    }

    /// The lines on stderr that hold `text`.
    pub(in crate::agent) fn errors(&self, text: &str) -> Vec<&str> {
        let stderr = self.lines.iter().filter(|line| line.stream == OutputStream::Stderr);
        stderr.map(|line| line.text.as_str()).filter(|line| line.contains(text)).collect()
    }

    /// The sentences for a human that go with network sinks.
    pub(in crate::agent) fn sentences(&self) -> usize {
        self.errors("run out of memory").len() + self.errors("ran out of memory").len()
    }

    /// Holds the agent to one line on stderr with this text.
    pub(in crate::agent) fn once(&self, text: &str) -> &Self {
        assert_eq!(self.errors(text).len(), 1, "{text}: {:?}", self.lines);
        self
    }

    /// Holds the agent to no warning and no error.
    pub(in crate::agent) fn quietly(&self) -> &Self {
        let loud = [self.errors("WARN"), self.errors("ERROR"), self.errors("panicked")].concat();
        assert!(loud.is_empty(), "{loud:?}");
        self
    }
}

/// The bodies of a scenario, as Lambda would post them.
pub(in crate::agent) fn bodies(scenario: &str) -> Vec<String> {
    let steps = EventScript::parse(scenario).steps;
    let bodies = steps.split(|step| *step == ScriptStep::NextBody);
    let event = |step: &ScriptStep| match step {
        ScriptStep::Event(event) => event.clone(),
        other => panic!("not an event: {other:?}"),
    };
    let body = |steps: &[ScriptStep]| {
        format!("[{}]", steps.iter().map(event).collect::<Vec<_>>().join(","))
    };
    bodies.map(body).collect()
}

/// An invocation that surely runs out of memory: one metric.
pub(in crate::agent) const OOM: &str = "
    100 start A
    200 done A error Runtime.OutOfMemory
    210 report A error 192/192 Runtime.OutOfMemory";
