//! One run: a function grows until the kernel kills it, then the environment shuts down.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use sandbox::{
    Environment, InvocationOutcome, Memory, Place, RecordingLine, ShutdownReason, Status, count_emf,
};
use serde_json::{Value, json};

use super::PlannedCell;
use super::cell::CellSums;

/// A run that has ended, and its environment.
pub(super) struct KillRun {
    environment: Environment,
    /// The invocation that the kernel ended.
    killed: InvocationOutcome,
    /// The invocation after it, if one was asked for.
    next: Option<InvocationOutcome>,
    /// How the extensions ended that still ran at the end.
    last_exits: Vec<(String, Option<ExitStatus>)>,
}

pub(super) fn run(planned: &PlannedCell<'_>, place: &Place) -> io::Result<KillRun> {
    let PlannedCell { extension, function, key } = planned;
    let mut environment = Environment::builder()
        .memory(Memory::Limited(place.clone()))
        .memory_mb(key.memory_mb)
        .function((*function).clone())
        .extension(extension.extension.clone())
        .timeout(Duration::from_secs(60))
        .start()?;
    let grow = json!({"behavior": "grow", "workers": key.workers, "together": true});
    let killed = environment.invoke(&grow.to_string())?;
    let succeed = json!({"behavior": "succeed"}).to_string();
    let next = key.then_succeed.then(|| environment.invoke(&succeed)).transpose()?;
    let last_exits = environment.shutdown(ShutdownReason::Spindown)?.exits;
    Ok(KillRun { environment, killed, next, last_exits })
}

impl KillRun {
    fn outcomes(&self) -> impl Iterator<Item = &InvocationOutcome> {
        [&self.killed].into_iter().chain(&self.next)
    }

    fn exits(&self) -> impl Iterator<Item = &(String, Option<ExitStatus>)> {
        self.outcomes().flat_map(|outcome| &outcome.extension_exits).chain(&self.last_exits)
    }

    fn count(&self) -> f64 {
        count_emf(&self.environment.extension_lines())
    }

    fn is_alive(&self) -> bool {
        let crashed = |outcome: &InvocationOutcome| {
            outcome.extension_killed() || outcome.error_type.as_deref() == Some("Extension.Crash")
        };
        let well = |exit: &Option<ExitStatus>| exit.is_some_and(|exit| exit.success());
        !self.outcomes().any(crashed) && self.exits().all(|(_, exit)| well(exit))
    }

    /// The kill was counted once, and the invocation after it succeeded.
    fn is_counted_once(&self) -> bool {
        let succeeded = self.next.as_ref().is_none_or(|next| next.status == Status::Success);
        succeeded && (self.count() - 1.0).abs() < f64::EPSILON
    }

    pub(super) fn add_to(&self, sums: &mut CellSums) {
        sums.runs += 1;
        sums.function_killed += u32::from(self.killed.function_killed());
        sums.alive += u32::from(self.is_alive());
        sums.once += u32::from(self.is_counted_once());
        sums.kernel_kills += self.outcomes().map(|outcome| outcome.oom_kills).sum::<u64>();
        let peak = self.environment.peak().map_or(0, |peak| peak.vm_hwm_kb);
        sums.vm_hwm_kib = sums.vm_hwm_kib.max(peak);
    }

    /// Everything about a run that failed: the kernel spared the function, or the extension died or
    /// did not count exactly one.
    pub(super) fn problem(&self) -> Option<Value> {
        if self.killed.function_killed() && self.is_alive() && self.is_counted_once() {
            return None;
        }
        let (lines, received) = (self.environment.extension_lines(), self.environment.recording());
        let exits = self.exits().map(|(name, exit)| match exit {
            Some(exit) => format!("{name}: {exit}"),
            None => format!("{name}: still there at the deadline"),
        });
        Some(json!({
            "counted": self.count(),
            "killed": self.killed.killed(),
            "exits": exits.collect::<Vec<_>>(),
            "status": self.killed.status.name(),
            "errorType": self.killed.error_type,
            "nextStatus": self.next.as_ref().map(|next| next.status.name()),
            "lines": lines.iter().map(|line| &line.text).collect::<Vec<_>>(),
            "received": received.iter().map(RecordingLine::line).collect::<Vec<_>>(),
            "telemetry": self.environment.telemetry(),
        }))
    }
}
