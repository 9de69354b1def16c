//! How an environment goes down: after a failed invocation (reset) or for good (shutdown).
//!
//! Order of a reset: `platform.runtimeDone` first, then the runtime, then SHUTDOWN for the
//! extensions, at most two seconds, then SIGKILL. Its `/tmp` is kept.

use std::process::ExitStatus;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::invoke::{Failure, RunningInvocation};
use super::process::signal_group;
use super::records::{self, ReportFigures};
use super::supervisor::Supervisor;
use crate::clock;
use crate::outcome::{self, InvocationOutcome, Status};
use crate::recording::RecordingLine;
use crate::state::PlatformState;
use crate::switches::{LateReport, RuntimeDone, ShutdownFlush};

/// Why extensions are told to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutdownReason {
    /// The environment is not needed any more.
    Spindown,
    /// An invocation took too long.
    Timeout,
    /// The runtime or an extension ended.
    Failure,
}

impl ShutdownReason {
    /// The reason after an init or an invocation that failed with this status.
    pub(super) fn after(status: Status) -> Self {
        if status == Status::Timeout { Self::Timeout } else { Self::Failure }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// How the extensions ended in a shutdown.
#[derive(Clone, Debug, Default)]
pub struct ShutdownOutcome {
    /// Each extension's exit. `None`: it was still there at the deadline and was killed.
    pub exits: Vec<(String, Option<ExitStatus>)>,
}

impl Supervisor {
    /// Reports the failed invocation's runtimeDone, then takes the environment down.
    pub(crate) async fn fail(
        &mut self,
        running: RunningInvocation,
        failure: Failure,
    ) -> InvocationOutcome {
        let duration = running.started.elapsed();
        if failure.runtime_exit.is_some() {
            drain(&mut self.readers, DRAIN_LIMIT).await;
        }
        let switch = self.config.switches.runtime_done;
        if switch != RuntimeDone::Lost {
            let (id, trace) = (&running.request_id, &running.trace);
            let done = records::runtime_done(id, trace, failure.end(), duration, 0);
            self.lambda.hub.platform("platform.runtimeDone", done);
        }
        // Closing the input streams flushes, with or without a runtimeDone.
        let patience = if switch == RuntimeDone::Beside { Duration::ZERO } else { FLUSH_LIMIT };
        self.lambda.hub.flush(patience).await;
        self.take_down(running, failure, duration).await
    }

    /// Takes the environment down after the invocation's runtimeDone.
    pub(crate) async fn take_down(
        &mut self,
        running: RunningInvocation,
        failure: Failure,
        duration: Duration,
    ) -> InvocationOutcome {
        let oom = failure.error_type.as_deref() == Some("Runtime.OutOfMemory");
        let max_memory_used_mb = if oom {
            let switch = self.config.switches.memory_after_kill;
            switch.figure(self.peak_mb(), self.config.memory_mb)
        } else {
            self.peak_mb()
        };
        self.keep_report(&running, &failure, duration, max_memory_used_mb).await;
        let before = self.exits();
        let shutdown = self.shutdown(ShutdownReason::after(failure.status)).await;
        // The kernel may also kill an extension during SHUTDOWN.
        let exits: Vec<_> =
            before.iter().zip(&shutdown.exits).map(|(b, s)| (b.0.clone(), b.1.or(s.1))).collect();
        let outcome = self.outcome(running, failure.end());
        let runtime_exit = failure.runtime_exit;
        InvocationOutcome {
            victims: outcome::victims(runtime_exit, &exits, outcome.oom_kills),
            max_memory_used_mb,
            duration,
            runtime_exit,
            extension_exits: exits,
            ..outcome
        }
    }

    async fn keep_report(
        &mut self,
        running: &RunningInvocation,
        failure: &Failure,
        duration: Duration,
        max_memory_used_mb: u64,
    ) {
        let figures = ReportFigures {
            duration,
            init: self.init_duration.take(),
            memory_size_mb: self.config.memory_mb,
            max_memory_used_mb,
            overhead: None,
        };
        let report = records::report(&running.request_id, failure.end(), &figures);
        match self.config.switches.late_report {
            LateReport::BeforeShutdown => {
                self.lambda.hub.platform("platform.report", report);
                self.lambda.hub.flush(FLUSH_LIMIT).await;
            }
            LateReport::AfterRestart | LateReport::AfterStart => {
                self.late_reports.push((Timestamp::now(), report));
            }
            LateReport::Never => {}
        }
    }

    /// Takes everything down. The environment comes up again at its next invocation.
    pub(crate) async fn shutdown(&mut self, reason: ShutdownReason) -> ShutdownOutcome {
        if !self.up {
            return ShutdownOutcome::default();
        }
        log::debug!("shutdown ({})", reason.name());
        (self.config.on_shutdown)();
        self.thaw();
        self.sample();
        let begun = Instant::now();
        self.end_runtime(begun).await;
        let limit = self.config.switches.shutdown_limit;
        let left = limit.saturating_sub(begun.elapsed());
        // Its workers have ended with it, so nobody holds its outputs open.
        drain(&mut self.readers, KILL_LIMIT).await;
        // The closed streams flush waiting telemetry.
        let patience = match (self.config.switches.shutdown_flush, reason) {
            (ShutdownFlush::Usual, ShutdownReason::Spindown) => KILL_LIMIT,
            (ShutdownFlush::Before, _) => FLUSH_LIMIT,
            (ShutdownFlush::Beside | ShutdownFlush::Usual, _) => Duration::ZERO,
        };
        self.lambda.hub.flush(patience).await;
        let left = self.config.switches.shutdown_left.unwrap_or(left);
        let deadline = Instant::now() + left;
        self.send_shutdown(reason, clock::epoch_ms(left));
        let mut exits = self.await_extensions(deadline).await;
        self.lambda.hub.open().await;
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill_all();
            // A killed worker holds its memory until it has left. It would count for the next
            // invocation.
            let give_up = Instant::now() + KILL_LIMIT;
            while !cgroup.pids().is_empty() && Instant::now() < give_up {
                tokio::time::sleep(SAMPLE_PAUSE).await;
            }
        }
        self.lambda.wait(Instant::now() + KILL_LIMIT, PlatformState::all_extensions_ended).await;
        for (name, exit) in self.exits() {
            // The sandbox has killed the unsubscribed ones, so their exit is not their own.
            exits.iter_mut().filter(|known| known.0 == name).for_each(|known| {
                known.1 = known.1.or(exit.filter(|_| known.1.is_some()));
            });
        }
        // Nobody holds their outputs open any more, so each line is read.
        drain(&mut self.extension_readers, KILL_LIMIT).await;
        self.up = false;
        ShutdownOutcome { exits }
    }

    /// Ends the runtime and its workers: SIGTERM if there are extensions, SIGKILL after 300 ms.
    async fn end_runtime(&self, begun: Instant) {
        let (pid, exited) = {
            let state = self.lambda.state.borrow();
            (state.runtime.pid, state.runtime.exit.is_some())
        };
        let Some(pid) = pid else { return };
        if !exited && !self.config.extensions.is_empty() {
            signal_group(pid, Signal::TERM);
            let ended = |state: &PlatformState| state.runtime.exit.is_some();
            self.lambda.wait(begun + RUNTIME_LIMIT, ended).await;
        }
        signal_group(pid, Signal::KILL);
        let ended = |state: &PlatformState| state.runtime.exit.is_some();
        self.lambda.wait(Instant::now() + KILL_LIMIT, ended).await;
    }

    fn send_shutdown(&self, reason: ShutdownReason, deadline_ms: i64) {
        let capital = self.config.switches.capital_reasons;
        let word = reason.name().to_string();
        let word = if capital { word.to_uppercase() } else { word };
        let event = records::shutdown_event(&word, deadline_ms);
        let unsubscribed = self.lambda.change(|state| {
            state.send(&RecordingLine::Shutdown(word), &event);
            let subscribed =
                state.extensions.iter().filter(|known| known.events.contains(&"SHUTDOWN"));
            let names: Vec<_> = subscribed.map(|known| &known.name).collect();
            let open = state.processes.iter().filter(|process| process.exit.is_none());
            let others = open.filter(|process| !names.contains(&&process.name));
            others.filter_map(|process| process.pid).collect::<Vec<_>>()
        });
        for pid in unsubscribed {
            signal_group(pid, Signal::KILL);
        }
    }

    /// Waits for the extensions and measures them meanwhile. Kills the rest at the deadline.
    async fn await_extensions(&self, deadline: Instant) -> Vec<(String, Option<ExitStatus>)> {
        while Instant::now() < deadline {
            self.sample();
            self.note_command_lines();
            let soon = (Instant::now() + SAMPLE_PAUSE).min(deadline);
            if self.lambda.wait(soon, PlatformState::all_extensions_ended).await {
                break;
            }
        }
        let exits = self.exits();
        let state = self.lambda.state.borrow();
        let left = state.processes.iter().filter(|process| process.exit.is_none());
        for pid in left.filter_map(|process| process.pid) {
            signal_group(pid, Signal::KILL);
        }
        exits
    }

    fn exits(&self) -> Vec<(String, Option<ExitStatus>)> {
        let state = self.lambda.state.borrow();
        state.processes.iter().map(|process| (process.name.clone(), process.exit)).collect()
    }
}

/// Reads what a dead process wrote to its end, unless a child of it keeps the pipe open.
pub(super) async fn drain(readers: &mut Vec<JoinHandle<()>>, limit: Duration) {
    let readers = std::mem::take(readers);
    let all = async {
        for reader in readers {
            let _ = reader.await;
        }
    };
    let _ = tokio::time::timeout(limit, all).await;
}

/// How long runtimeDone may take to be answered before SHUTDOWN goes out anyway.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);

/// The runtime's part of the shutdown.
const RUNTIME_LIMIT: Duration = Duration::from_millis(300);

/// How long the kernel may take to end a killed process, and the extension to answer an old
/// request. Neither is part of the extension's own time.
const KILL_LIMIT: Duration = Duration::from_secs(5);

pub(super) const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// Short against the few milliseconds in which an extension sends and ends.
const SAMPLE_PAUSE: Duration = Duration::from_millis(1);
