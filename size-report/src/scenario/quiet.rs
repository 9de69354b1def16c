//! Measures the processor time of the extension in many quiet invocations.
//!
//! The agent is compared with the smallest extension on AWS's crate, and with itself reading the
//! kernel's counter. They take turns, all on one processor together with the sandbox. A single time
//! says little, because it depends on what else the machine does. The ratio says more, because the
//! machine slows all of them.

use std::io;
use std::path::Path;

use sandbox::{Environment, Extension, Function, QuietInvocations, ShutdownReason};

use super::{Plan, pid_of, start_environment};
use crate::figure::{self, CostScenario};
use crate::report::{CostReport, median};
use crate::{build, process};

pub(super) fn run_all(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    if let Err(why) = process::cpu_ns(std::process::id()) {
        report.skip(CostScenario::Quiet, &why.to_string(), true);
        return Ok(());
    }
    if plan.extension.ours {
        return beside_crate(plan, report);
    }
    plan.repeat(CostScenario::Quiet, || {
        match cpu_ns([plan.sandboxed()]) {
            Ok(times) => report.add(CostScenario::Quiet, figure::CPU, times[0]),
            // Not every extension reads telemetry.
            Err(why) => report.skip(CostScenario::Quiet, &why.to_string(), false),
        }
        Ok(())
    })
}

/// Measures the agent with and without the kernel's counter, and the extension on AWS's crate.
fn beside_crate(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    let peer = Extension::new(build::crate_peer()?.path);
    let mut shares = Vec::new();
    plan.repeat(CostScenario::Quiet, || {
        let with_counter = plan.sandboxed().variable("OOM_WITNESS_VMSTAT", VMSTAT);
        let times = cpu_ns([plan.sandboxed(), peer.clone(), with_counter])?;
        let figures = [figure::CPU, figure::CPU_CRATE, figure::CPU_VMSTAT];
        for (figure, time) in figures.into_iter().zip(&times) {
            report.add(CostScenario::Quiet, figure, *time);
        }
        shares.push(percent(times[0], times[1]));
        Ok(())
    })?;
    report.add(CostScenario::Quiet, figure::CRATE_PERCENT, median(&shares));
    report.remark(format!("quiet: the share of the crate's time in each run, in %: {shares:?}"));
    if !Path::new(VMSTAT).exists() {
        report.remark(format!("quiet: there is no {VMSTAT}"));
    }
    Ok(())
}

/// A percentage, rounded up.
fn percent(part: i64, whole: i64) -> i64 {
    let whole = whole.max(1);
    (part * 100 + whole - 1) / whole
}

/// The nanoseconds of one quiet invocation of each extension, each in its own environment.
fn cpu_ns(extensions: impl IntoIterator<Item = Extension>) -> io::Result<Vec<i64>> {
    let _one = process::OneProcessor::take()?;
    let mut runs =
        extensions.into_iter().map(QuietRun::start).collect::<io::Result<Vec<QuietRun>>>()?;
    for _ in 0..ROUNDS {
        for run in &mut runs {
            run.quiet.run(&mut run.environment, ROUND)?;
        }
    }
    runs.into_iter().map(QuietRun::end).collect()
}

/// An environment whose extension is measured.
struct QuietRun {
    environment: Environment,
    quiet: QuietInvocations,
    pid: u32,
    before: i64,
}

impl QuietRun {
    fn start(extension: Extension) -> io::Result<Self> {
        let builder = Environment::builder().function(Function::Synthetic).memory_mb(192);
        let mut environment = start_environment(builder.extension(extension))?;
        let pid = pid_of(&environment)?;
        let mut quiet = QuietInvocations::default();
        quiet.run(&mut environment, WARM)?;
        let before = process::cpu_ns(pid)?;
        Ok(Self { environment, quiet, pid, before })
    }

    /// Ends the run, and returns the nanoseconds of one invocation.
    fn end(mut self) -> io::Result<i64> {
        let after = process::cpu_ns(self.pid)?;
        self.environment.shutdown(ShutdownReason::Spindown)?;
        Ok((after - self.before) / i64::from(ROUNDS * ROUND))
    }
}

/// After this many invocations everything that is made only once has been made.
const WARM: u32 = 50;

/// Invocations of one extension before it is the next one's turn.
const ROUND: u32 = 100;

/// Turns of each extension: 2,000 invocations in all.
const ROUNDS: u32 = 20;

/// The kernel's counter on Lambda. The sandbox turns it off, because here it counts for the whole
/// machine.
const VMSTAT: &str = "/proc/vmstat";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up() {
        assert_eq!([percent(70, 100), percent(701, 1000), percent(1, 0)], [70, 71, 100]);
    }
}
