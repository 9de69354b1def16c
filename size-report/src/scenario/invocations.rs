//! Measures the extension after many invocations, each with log lines and the platform's events.

use std::io;

use sandbox::{Behavior, Environment, ShutdownReason, Status, Work};

use super::{Plan, gone, pid_of};
use crate::figure::{self, CostScenario};
use crate::process;
use crate::report::CostReport;

pub(super) fn run(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    let mut environment = plan.start_environment()?;
    let pid = pid_of(&environment)?;
    let mut warm = None;
    for number in 1..=plan.args.invocations {
        invoke(&mut environment, number)?;
        if number == WARM {
            warm = process::counted_rss(pid);
        }
    }
    process::add_all(report, CostScenario::Invocations, pid).ok_or_else(gone)?;
    let growth = process::counted_rss(pid).zip(warm).map(|(last, warm)| last - warm);
    report.add_some(CostScenario::Invocations, figure::GROWTH, growth);
    let taken = environment.posted().iter().filter(|post| post.status == Some(200)).count();
    if taken == 0 {
        report.remark("invocations: the extension took no telemetry");
    }
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(())
}

/// One invocation, with log lines and the platform's events.
pub(crate) fn invoke(environment: &mut Environment, number: u32) -> io::Result<()> {
    let payload = Work::new(Behavior::Succeed).lines(LINES).payload();
    let outcome = environment.invoke(&payload)?;
    if outcome.status == Status::Success {
        return Ok(());
    }
    let why = outcome.error_type.unwrap_or_else(|| outcome.status.name().into());
    Err(io::Error::other(format!("invocation {number} failed: {why}")))
}

/// Lines of a handler that logs: one of a framework, one of its own, one of JSON.
const LINES: [&str; 3] = [
    "{id} INFO loading the order",
    "the order has 3 items, total 42.00",
    r#"{"level":"info","requestId":"{id}","message":"done","durationMs":12}"#,
];

/// By this invocation everything that is made only once has been made.
pub(super) const WARM: u32 = 10;
