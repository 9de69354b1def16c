//! Measures the extension after its init, before any invocation.

use std::io;

use sandbox::ShutdownReason;

use super::{Plan, gone, pid_of};
use crate::figure::CostScenario;
use crate::process;
use crate::report::CostReport;

pub(super) fn run(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    let mut environment = plan.start_environment()?;
    let pid = pid_of(&environment)?;
    process::add_all(report, CostScenario::Idle, pid).ok_or_else(gone)?;
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(())
}
