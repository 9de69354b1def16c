//! One invocation, in the order in which Lambda does things.
//!
//! In: a payload. Out: an [`InvocationOutcome`], and platform events on the way. `init` brings the
//! environment up. `reset` takes it down after a failed invocation.

use std::io;
use std::process::ExitStatus;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::records::{self, InitPhase, ReportFigures};
use super::supervisor::Supervisor;
use crate::clock;
use crate::outcome::{InitOutcome, InvocationOutcome, RuntimeAnswer, SIGKILL, Status, victims};
use crate::recording::RecordingLine;
use crate::state::{Invocation, PlatformState};
use crate::switches::{LateReport, SuppressedInit};

/// One invocation as it runs.
pub(crate) struct RunningInvocation {
    pub(crate) request_id: String,
    pub(crate) trace: String,
    pub(crate) started: Instant,
    pub(crate) kills_before: u64,
}

impl RunningInvocation {
    pub(super) fn new(request_id: Option<String>, kills_before: u64) -> Self {
        Self {
            request_id: request_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            trace: trace(),
            started: Instant::now(),
            kills_before,
        }
    }

    /// The invocation, as the runtime fetches it.
    pub(super) fn invocation(&self, deadline_ms: i64, payload: &str) -> Invocation {
        let (request_id, trace) = (self.request_id.clone(), self.trace.clone());
        Invocation { request_id, deadline_ms, trace, payload: payload.to_string() }
    }
}

/// Why an init or an invocation failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) error_type: Option<String>,
    pub(crate) runtime_exit: Option<ExitStatus>,
}

impl Failure {
    pub(super) fn error(error_type: &str, runtime_exit: Option<ExitStatus>) -> Self {
        Self { status: Status::Error, error_type: Some(error_type.to_string()), runtime_exit }
    }

    pub(super) fn timeout() -> Self {
        Self { status: Status::Timeout, error_type: None, runtime_exit: None }
    }

    /// Status and errorType, as events have them.
    pub(super) fn end(&self) -> (Status, Option<&str>) {
        (self.status, self.error_type.as_deref())
    }

    /// The same of what may have succeeded.
    pub(super) fn end_of(failure: Option<&Self>) -> (Status, Option<&str>) {
        failure.map_or((Status::Success, None), Self::end)
    }
}

impl Supervisor {
    /// One invocation: the environment comes up first if it is down.
    pub(crate) async fn invoke(
        &mut self,
        payload: &str,
        request_id: Option<String>,
    ) -> io::Result<InvocationOutcome> {
        let kills_before = self.kills();
        let mut failure = None;
        let within = (!self.up
            && self.config.switches.suppressed_init == SuppressedInit::AfterStart)
            .then(|| RunningInvocation::new(request_id.clone(), kills_before));
        if self.up {
            self.thaw();
        } else {
            let init = self.bring_up(InitPhase::Invoke, within.as_ref()).await?;
            if init.status != Status::Success {
                let runtime_exit = self.lambda.state.borrow().runtime.exit;
                let InitOutcome { status, error_type, .. } = init;
                failure = Some(Failure { status, error_type, runtime_exit });
            }
        }
        let running = match within {
            Some(running) => running,
            None => {
                let running = RunningInvocation::new(request_id, kills_before);
                self.announce(&running);
                running
            }
        };
        if failure.is_none() {
            failure = self.run(&running, payload).await;
        }
        match failure {
            None => Ok(self.succeed(running).await),
            Some(failure) => Ok(self.fail(running, failure).await),
        }
    }

    /// `platform.start`, with the late reports before or after it.
    pub(super) fn announce(&mut self, running: &RunningInvocation) {
        let hub = &self.lambda.hub;
        let start = || {
            let record = records::start(&running.request_id, &running.trace);
            hub.platform("platform.start", record);
        };
        let start_first = self.config.switches.late_report == LateReport::AfterStart;
        if start_first {
            start();
        }
        for (time, report) in self.late_reports.drain(..) {
            hub.emit(time, "platform.report", report);
        }
        if !start_first {
            start();
        }
    }

    /// Sends the invocation to extensions and runtime, and waits until the runtime has finished.
    async fn run(&mut self, running: &RunningInvocation, payload: &str) -> Option<Failure> {
        let deadline = running.started + self.config.timeout;
        let deadline_ms = clock::epoch_ms(self.config.timeout);
        self.sample();
        log::debug!("invocation {}", running.request_id);
        let (id, trace) = (&running.request_id, &running.trace);
        let event = records::invoke_event(id, trace, deadline_ms);
        let line = RecordingLine::Invoke(id.clone());
        let invocation = running.invocation(deadline_ms, payload);
        self.lambda.change(|state| {
            state.send(&line, &event);
            state.runtime.answers.remove(id); // of the first attempt
            state.runtime.inbox.push_back(invocation);
        });
        let done = |state: &PlatformState| {
            let runtime = &state.runtime;
            let answered = runtime.answers.contains_key(id) && runtime.waiting > 0;
            answered || runtime.exit.is_some() || state.extension_ended()
        };
        let in_time = self.lambda.wait(deadline, done).await;
        self.invoke_failure(in_time, running)
    }

    pub(super) fn invoke_failure(
        &self,
        in_time: bool,
        running: &RunningInvocation,
    ) -> Option<Failure> {
        let state = self.lambda.state.borrow();
        let runtime_exit = state.runtime.exit;
        if runtime_exit.is_some() {
            let error_type = self.exit_type(runtime_exit, running.kills_before);
            return Some(Failure::error(error_type, runtime_exit));
        }
        if state.extension_ended() {
            // The error that it reported with exit/error before it ended. Most report none.
            let mut reported = state.extensions.iter().filter_map(|known| known.error.as_deref());
            return Some(Failure::error(reported.next().unwrap_or("Extension.Crash"), None));
        }
        (!in_time).then(Failure::timeout)
    }

    /// `Runtime.OutOfMemory` needs both: the kernel's counter, and a runtime that it killed.
    pub(super) fn exit_type(&self, exit: Option<ExitStatus>, kills_before: u64) -> &'static str {
        use std::os::unix::process::ExitStatusExt;
        let killed = exit.and_then(|exit| exit.signal()) == Some(SIGKILL);
        if killed && self.kills() > kills_before {
            "Runtime.OutOfMemory"
        } else {
            "Runtime.ExitError"
        }
    }

    /// runtimeDone, then the extensions' next, then the report, then the freeze.
    async fn succeed(&mut self, running: RunningInvocation) -> InvocationOutcome {
        let duration = running.started.elapsed();
        let answer = self.answer(&running.request_id);
        let produced = answer.as_ref().map_or(0, RuntimeAnswer::len);
        let (id, trace) = (&running.request_id, &running.trace);
        let success = (Status::Success, None);
        let done = records::runtime_done(id, trace, success, duration, produced);
        self.lambda.hub.platform("platform.runtimeDone", done);
        let overhead_start = Timestamp::now();
        let deadline = running.started + self.config.timeout;
        let waiting = |state: &PlatformState| state.all_waiting() || state.extension_ended();
        let in_time = self.lambda.wait(deadline, waiting).await;
        if let Some(failure) = self.invoke_failure(in_time, &running) {
            let duration = running.started.elapsed();
            return self.take_down(running, failure, duration).await;
        }
        let total = running.started.elapsed();
        let max_memory_used_mb = self.peak_mb();
        let figures = ReportFigures {
            duration: total,
            init: self.init_duration.take(),
            memory_size_mb: self.config.memory_mb,
            max_memory_used_mb,
            overhead: Some((overhead_start, total.saturating_sub(duration))),
        };
        let report = records::report(id, success, &figures);
        self.lambda.hub.platform("platform.report", report);
        self.sample();
        self.freeze();
        let outcome = self.outcome(running, success);
        InvocationOutcome { answer, max_memory_used_mb, duration, ..outcome }
    }

    /// The outcome of an invocation that ends now, as far as the kernel's counter tells it.
    pub(super) fn outcome(
        &self,
        running: RunningInvocation,
        (status, error): (Status, Option<&str>),
    ) -> InvocationOutcome {
        let oom_kills = self.kills().saturating_sub(running.kills_before);
        InvocationOutcome {
            request_id: running.request_id,
            status,
            error_type: error.map(str::to_string),
            answer: None,
            oom_kills,
            victims: victims(None, &[], oom_kills),
            max_memory_used_mb: self.peak_mb(),
            duration: running.started.elapsed(),
            runtime_exit: None,
            extension_exits: Vec::new(),
        }
    }

    /// What the runtime answered to this request.
    pub(crate) fn answer(&self, id: &str) -> Option<RuntimeAnswer> {
        self.lambda.state.borrow().runtime.answers.get(id).map(|(answer, _)| answer.clone())
    }

    /// The peak of the cgroup in MB, at most the configured size.
    pub(crate) fn peak_mb(&self) -> u64 {
        let peak = self.cgroup.as_ref().map_or(0, |cgroup| cgroup.peak_bytes());
        (peak >> 20).clamp(1, self.config.memory_mb)
    }

    fn freeze(&mut self) {
        if self.config.switches.freeze && !self.is_managed() {
            self.frozen = self.cgroup.as_ref().is_some_and(|cgroup| cgroup.freeze());
        }
    }
}

/// A trace header of the usual shape.
fn trace() -> String {
    let id = Uuid::new_v4().simple().to_string();
    let time = Timestamp::now().as_second();
    format!("Root=1-{time:08x}-{};Parent={};Sampled=1", &id[..24], &id[16..])
}
