//! Managed Instances: several invocations at once, no reset, no `runtimeDone`.
//!
//! In: payloads. Out: an [`InvocationOutcome`] for each, and platform events on the way, as AWS's
//! own emulator makes them (captures of it: `tests/data/rie-managed-instances`). When a runtime
//! ends, all open invocations fail and the environment is replaced. A runtime that never answers
//! fails only its own invocation.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::invoke::{Failure, RunningInvocation};
use super::records::{InitPhase, record};
use super::reset::{DRAIN_LIMIT, ShutdownReason, drain};
use super::supervisor::Supervisor;
use crate::clock;
use crate::identity;
use crate::outcome::{InvocationOutcome, RuntimeAnswer, Status, victims};
use crate::recording::RecordingLine;
use crate::state::PlatformState;

/// One of several open invocations.
struct OpenInvocation {
    running: RunningInvocation,
    /// Its place among the outcomes.
    number: usize,
    start: Timestamp,
}

impl Supervisor {
    pub(crate) fn is_managed(&self) -> bool {
        self.lambda.identity.is_managed()
    }

    /// Invokes with all of these payloads at once.
    pub(crate) async fn invoke_at_once(
        &mut self,
        payloads: &[String],
    ) -> io::Result<Vec<InvocationOutcome>> {
        if !self.up {
            // A new machine has nothing of the old one.
            self.replace_tmp()?;
            self.lambda.hub.recorder.record(RecordingLine::Replaced);
            let init = self.bring_up(InitPhase::Init, None).await?;
            if init.status != Status::Success {
                let why = init.error_type.unwrap_or_else(|| "timeout".into());
                self.shutdown(ShutdownReason::Failure).await;
                return Err(io::Error::other(format!("init: {why}")));
            }
        }
        let begun = Instant::now();
        self.sample();
        let payloads = payloads.iter().enumerate();
        let mut open: Vec<OpenInvocation> =
            payloads.map(|(number, text)| self.begin(number, text)).collect();
        let mut outcomes = BTreeMap::new();
        while !open.is_empty() {
            let answered = |state: &PlatformState, open: &OpenInvocation| {
                state.runtime.answers.contains_key(&open.running.request_id)
            };
            let reached = |state: &PlatformState| {
                let any = open.iter().any(|open| answered(state, open));
                any || state.runtime.exit.is_some() || state.extension_ended()
            };
            let in_time = self.lambda.wait(begun + self.config.timeout, reached).await;
            let (done, left) = {
                let state = self.lambda.state.borrow();
                open.into_iter().partition(|open| answered(&state, open))
            };
            open = left;
            outcomes.extend(done.into_iter().map(|done| self.answered(done)));
            let Some(first) = open.first() else { break };
            match self.invoke_failure(in_time, &first.running) {
                Some(failure) if failure.status == Status::Timeout => {
                    outcomes.extend(open.drain(..).map(|open| self.given_up(open)));
                }
                Some(failure) => {
                    let open = std::mem::take(&mut open);
                    outcomes.extend(self.replaced(open, &failure).await);
                }
                None => {}
            }
        }
        self.sample();
        Ok(outcomes.into_values().collect())
    }

    /// Reports `platform.start`. Then a worker may fetch the invocation.
    fn begin(&mut self, number: usize, payload: &str) -> OpenInvocation {
        let running = RunningInvocation::new(None, self.kills());
        log::debug!("invocation {}", running.request_id);
        let start = Timestamp::now();
        let record = json!({
            "requestId": running.request_id,
            "version": identity::VERSION,
            "functionArn": identity::ARN,
        });
        self.lambda.hub.emit(start, "platform.start", record);
        let invocation = running.invocation(clock::epoch_ms(self.config.timeout), payload);
        self.lambda.change(|state| state.runtime.inbox.push_back(invocation));
        OpenInvocation { running, number, start }
    }

    /// An error that the runtime handled fails the invocation here, unlike on demand.
    fn answered(&self, open: OpenInvocation) -> (usize, InvocationOutcome) {
        let id = &open.running.request_id;
        let known = self.lambda.state.borrow().runtime.answers.get(id).cloned();
        let at = known.as_ref().map_or_else(Instant::now, |(_, at)| *at);
        let answer = known.map(|(answer, _)| answer);
        let end = match &answer {
            Some(RuntimeAnswer::Error(_)) => (Status::Error, Some("Runtime.Unknown")),
            Some(RuntimeAnswer::Response(_)) | None => (Status::Success, None),
        };
        let duration = clock::ms(at.duration_since(open.running.started));
        let latency = json!({
            "name": "responseLatency", "start": clock::iso(open.start), "durationMs": duration,
        });
        let took = json!({
            "name": "responseDuration", "start": clock::iso(Timestamp::now()), "durationMs": 0.05,
        });
        self.report(&open, end, &json!([latency, took]));
        let mut outcome = self.outcome(open.running, end);
        outcome.answer = answer;
        if end.0 == Status::Success {
            // The kernel's counter does not say whose worker it was. This invocation's answered.
            outcome.victims.clear();
        }
        (open.number, outcome)
    }

    /// The client gave up: a worker that was killed never answers. The words are RIE's.
    fn given_up(&self, open: OpenInvocation) -> (usize, InvocationOutcome) {
        let id = &open.running.request_id;
        self.lambda.change(|state| {
            state.runtime.inbox.retain(|invocation| invocation.request_id != *id);
            state.runtime.open.retain(|open| open != id);
        });
        let end = (Status::Failure, Some("BuildInvokeAppError doesn't know this error"));
        self.report(&open, end, &Value::Null);
        (open.number, self.outcome(open.running, end))
    }

    /// Reports each open invocation, then sends SHUTDOWN.
    async fn replaced(
        &mut self,
        open: Vec<OpenInvocation>,
        failure: &Failure,
    ) -> Vec<(usize, InvocationOutcome)> {
        if failure.runtime_exit.is_some() {
            drain(&mut self.readers, DRAIN_LIMIT).await;
        }
        let mut outcomes = Vec::new();
        for open in open {
            self.report(&open, failure.end(), &Value::Null);
            outcomes.push((open.number, self.outcome(open.running, failure.end())));
        }
        let exits = self.shutdown(ShutdownReason::Failure).await.exits;
        for (_, outcome) in &mut outcomes {
            outcome.runtime_exit = failure.runtime_exit;
            outcome.victims = victims(failure.runtime_exit, &exits, outcome.oom_kills);
            outcome.extension_exits.clone_from(&exits);
        }
        outcomes
    }

    /// A report has no memory figures here.
    fn report(
        &self,
        open: &OpenInvocation,
        (status, error): (Status, Option<&str>),
        spans: &Value,
    ) {
        let report = record(json!({
            "requestId": open.running.request_id,
            "status": status.name(),
            "metrics": {"durationMs": clock::ms(open.running.started.elapsed())},
            "spans": spans,
            "errorType": error,
        }));
        self.lambda.hub.platform("platform.report", report);
    }
}
