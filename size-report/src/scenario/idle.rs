//! The extension after its init, before any invocation.

use std::io;

use sandbox::{Environment, ShutdownReason};

use super::{Plan, gone, pid_of, start_environment};
use crate::figure::CostScenario;
use crate::process;
use crate::report::Report;

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let mut environment = start_environment(Environment::builder().extension(plan.extension()))?;
    let pid = pid_of(&environment)?;
    if !process::add_all(report, CostScenario::Idle, pid) {
        return Err(gone());
    }
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(())
}
