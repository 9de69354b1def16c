//! Measures how long the extension takes to register, and to ask for its first event.

use std::io;

use sandbox::{Environment, ShutdownReason};

use super::{Plan, micros, start_environment};
use crate::figure::{self, CostScenario};
use crate::report::Report;

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let mut environment = start_environment(Environment::builder().extension(plan.extension()))?;
    match environment.start_times() {
        Some(times) => {
            report.add(CostScenario::Start, figure::REGISTER, micros(times.registered));
            report.add(CostScenario::Start, figure::NEXT, micros(times.first_next));
        }
        None => report.remark("start: the extension registered under another name than its file's"),
    }
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(())
}
