//! The extension after its init, before any invocation.

use std::io;

use sandbox::{Environment, ShutdownReason};

use super::{Plan, gone, pid_of, start_environment};
use crate::cleanup::Mark;
use crate::figure::Scenario;
use crate::process;
use crate::report::Report;

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let mut environment = start_environment(Environment::builder().extension(plan.extension()))?;
    let pid = pid_of(&environment)?;
    let _mark = Mark::new(pid);
    if !process::add_all(report, Scenario::Idle, pid) {
        return Err(gone());
    }
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(())
}
