//! Measures how long the extension takes to register, and to ask for its first event.

use std::io;

use sandbox::ShutdownReason;

use super::{Plan, micros};
use crate::figure::{self, CostScenario};
use crate::report::CostReport;

pub(super) fn run(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    let mut environment = plan.start_environment()?;
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
