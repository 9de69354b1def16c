//! One run: an environment, a function that grows, the kernel's kill, the end.

use std::io;
use std::time::Duration;

use sandbox::{Environment, Function, Line, Memory, Outcome, Place, ShutdownReason, count_emf};
use serde_json::{Value, json};

use super::cell::{Spot, Tally};
use super::{Subject, Victim};

/// What came of it.
pub(super) struct Killed {
    outcome: Outcome,
    count: f64,
    vm_hwm_kib: u64,
    /// What the extension wrote, what it was told, and the telemetry.
    lines: Vec<Line>,
    told: Vec<String>,
    telemetry: Vec<Value>,
}

pub(super) fn run(
    subject: &Subject,
    victim: &Victim,
    spot: &Spot,
    place: &Place,
) -> io::Result<Killed> {
    let function = match &victim.runtime {
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
    let payload = json!({"behavior": "grow", "workers": spot.workers, "together": true});
    let outcome = environment.invoke(&payload.to_string())?;
    environment.shutdown(ShutdownReason::Spindown)?;
    let lines = environment.extension_lines();
    Ok(Killed {
        outcome,
        count: count_emf(&lines),
        vm_hwm_kib: environment.peak().map_or(0, |peak| peak.vm_hwm_kb),
        lines,
        told: environment.told().iter().map(|told| format!("{told:?}")).collect(),
        telemetry: environment.telemetry(),
    })
}

impl Killed {
    fn is_alive(&self) -> bool {
        let well =
            |exit: &Option<std::process::ExitStatus>| exit.is_some_and(|exit| exit.success());
        let exits = &self.outcome.extension_exits;
        !self.outcome.extension_killed() && exits.iter().all(|(_, exit)| well(exit))
    }

    fn is_counted_once(&self) -> bool {
        (self.count - 1.0).abs() < f64::EPSILON
    }

    pub(super) fn add_to(&self, tally: &mut Tally) {
        tally.runs += 1;
        tally.function_killed += u32::from(self.outcome.function_killed());
        tally.alive += u32::from(self.is_alive());
        tally.once += u32::from(self.is_counted_once());
        tally.kernel_kills += self.outcome.oom_kills;
        tally.vm_hwm_kib = tally.vm_hwm_kib.max(self.vm_hwm_kib);
    }

    /// All that is known of a run in which the extension did not live on or did not count one.
    pub(super) fn problem(&self) -> Option<Value> {
        if self.is_alive() && self.is_counted_once() {
            return None;
        }
        let outcome = &self.outcome;
        let exits = outcome.extension_exits.iter().map(|(name, exit)| match exit {
            Some(exit) => format!("{name}: {exit}"),
            None => format!("{name}: still there at the deadline"),
        });
        Some(json!({
            "counted": self.count,
            "killed": outcome.killed(),
            "exits": exits.collect::<Vec<_>>(),
            "status": outcome.status.name(),
            "errorType": outcome.error_type,
            "lines": self.lines.iter().map(|line| &line.text).collect::<Vec<_>>(),
            "told": self.told,
            "telemetry": self.telemetry,
        }))
    }
}
