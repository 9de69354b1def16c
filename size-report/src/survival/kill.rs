//! One run: a function grows until the kernel kills it, then the environment shuts down.

use std::io;
use std::time::Duration;

use sandbox::{
    Environment, InvocationOutcome, Memory, Place, RecordingLine, ShutdownReason, Status, count_emf,
};
use serde_json::json;

use super::PlannedCell;
use super::cell::CellSums;

/// Returns the sums of one run.
///
/// If it failed, they have everything about it: the kernel spared the function, or the extension
/// died or did not count exactly one.
pub(super) fn run(planned: &PlannedCell<'_>, place: &Place) -> io::Result<CellSums> {
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

    let outcomes = || [&killed].into_iter().chain(&next);
    let exits = || outcomes().flat_map(|outcome| &outcome.extension_exits).chain(&last_exits);
    let crashed = |outcome: &InvocationOutcome| {
        outcome.extension_killed() || outcome.error_type.as_deref() == Some("Extension.Crash")
    };
    let is_alive = !outcomes().any(crashed)
        && exits().all(|(_, exit)| exit.is_some_and(|exit| exit.success()));
    let lines = environment.extension_lines();
    let counted = count_emf(&lines);
    // The invocation after the kill, if there is one, must succeed and not count.
    let is_counted_once = next.as_ref().is_none_or(|next| next.status == Status::Success)
        && (counted - 1.0).abs() < f64::EPSILON;
    let mut sums = CellSums {
        runs: 1,
        function_killed: killed.function_killed().into(),
        alive: is_alive.into(),
        once: is_counted_once.into(),
        kernel_kills: outcomes().map(|outcome| outcome.oom_kills).sum(),
        vm_hwm_kib: environment.peak().map_or(0, |peak| peak.vm_hwm_kb),
        ..CellSums::default()
    };
    if !sums.is_perfect() {
        let exits = exits().map(|(name, exit)| match exit {
            Some(exit) => format!("{name}: {exit}"),
            None => format!("{name}: still there at the deadline"),
        });
        let received = environment.recording();
        sums.problems.push(json!({
            "counted": counted,
            "killed": killed.killed(),
            "exits": exits.collect::<Vec<_>>(),
            "status": killed.status.name(),
            "errorType": killed.error_type,
            "nextStatus": next.as_ref().map(|next| next.status.name()),
            "lines": lines.iter().map(|line| &line.text).collect::<Vec<_>>(),
            "received": received.iter().map(RecordingLine::line).collect::<Vec<_>>(),
            "telemetry": environment.telemetry(),
        }));
    }
    Ok(sums)
}
