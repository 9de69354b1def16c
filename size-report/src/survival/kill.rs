//! One run: an environment, a function that grows, the kernel's kill, and the end.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use sandbox::{
    Environment, Function, InvocationOutcome, Line, Memory, Place, RecordingLine, ShutdownReason,
    Status, count_emf,
};
use serde_json::{Value, json};

use super::cell::{Spot, Tally};
use super::{MatrixFunction, Subject};

/// What happened in one run.
pub(super) struct KillRun {
    /// The invocation that the kernel ended.
    killed: InvocationOutcome,
    /// The invocation after it, if one was asked for.
    next: Option<InvocationOutcome>,
    /// How the extensions ended that were up at the end of the run.
    last_exits: Vec<(String, Option<ExitStatus>)>,
    count: f64,
    vm_hwm_kib: u64,
    /// What the extension wrote.
    lines: Vec<Line>,
    /// What the extension received.
    received: Vec<RecordingLine>,
    telemetry: Vec<Value>,
}

pub(super) fn run(
    subject: &Subject,
    function: &MatrixFunction,
    spot: &Spot,
    place: &Place,
) -> io::Result<KillRun> {
    let function = match &function.runtime {
        Some(runtime) => Function::Command(runtime.function()),
        None => Function::BuiltIn,
    };
    let mut environment = Environment::builder()
        .memory(Memory::Limited(place.clone()))
        .memory_mb(spot.memory_mb)
        .function(function)
        .extension(subject.extension.clone())
        .timeout(Duration::from_secs(60))
        .start()?;
    let grow = json!({"behavior": "grow", "workers": spot.workers, "together": true});
    let killed = environment.invoke(&grow.to_string())?;
    let succeed = json!({"behavior": "succeed"}).to_string();
    let next = spot.then_succeed.then(|| environment.invoke(&succeed)).transpose()?;
    let last_exits = environment.shutdown(ShutdownReason::Spindown)?.exits;
    let lines = environment.extension_lines();
    Ok(KillRun {
        killed,
        next,
        last_exits,
        count: count_emf(&lines),
        vm_hwm_kib: environment.peak().map_or(0, |peak| peak.vm_hwm_kb),
        lines,
        received: environment.recording(),
        telemetry: environment.telemetry(),
    })
}

impl KillRun {
    fn outcomes(&self) -> impl Iterator<Item = &InvocationOutcome> {
        [&self.killed].into_iter().chain(&self.next)
    }

    fn exits(&self) -> impl Iterator<Item = &(String, Option<ExitStatus>)> {
        self.outcomes().flat_map(|outcome| &outcome.extension_exits).chain(&self.last_exits)
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
        succeeded && (self.count - 1.0).abs() < f64::EPSILON
    }

    pub(super) fn add_to(&self, tally: &mut Tally) {
        tally.runs += 1;
        tally.function_killed += u32::from(self.killed.function_killed());
        tally.alive += u32::from(self.is_alive());
        tally.once += u32::from(self.is_counted_once());
        tally.kernel_kills += self.outcomes().map(|outcome| outcome.oom_kills).sum::<u64>();
        tally.vm_hwm_kib = tally.vm_hwm_kib.max(self.vm_hwm_kib);
    }

    /// Everything about a run in which the kernel spared the function, or the extension died or did
    /// not count one.
    pub(super) fn problem(&self) -> Option<Value> {
        if self.killed.function_killed() && self.is_alive() && self.is_counted_once() {
            return None;
        }
        let exits = self.exits().map(|(name, exit)| match exit {
            Some(exit) => format!("{name}: {exit}"),
            None => format!("{name}: still there at the deadline"),
        });
        Some(json!({
            "counted": self.count,
            "killed": self.killed.killed(),
            "exits": exits.collect::<Vec<_>>(),
            "status": self.killed.status.name(),
            "errorType": self.killed.error_type,
            "nextStatus": self.next.as_ref().map(|next| next.status.name()),
            "lines": self.lines.iter().map(|line| &line.text).collect::<Vec<_>>(),
            "received": self.received.iter().map(RecordingLine::line).collect::<Vec<_>>(),
            "telemetry": self.telemetry,
        }))
    }
}
