//! Measures the extension at rest: its start, then its memory after the init, and after many
//! invocations. No function is killed.

use std::io;
use std::ops::RangeInclusive;

use sandbox::{Behavior, Environment, Status, Work};

use super::{Plan, with_extension};
use crate::figure::{self, CostScenario};
use crate::process;
use crate::report::CostReport;

/// How long it takes to register, and to ask for its first event.
pub(super) fn start(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    let times = with_extension(plan.sandboxed(), |environment, _| Ok(environment.start_times()))?;
    match times {
        Some(times) => {
            report.add(CostScenario::Start, figure::REGISTER, times.registered.as_micros());
            report.add(CostScenario::Start, figure::NEXT, times.first_next.as_micros());
        }
        None => report.remark("start: the extension registered under another name than its file's"),
    }
    Ok(())
}

/// Its memory before any invocation.
pub(super) fn idle(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    with_extension(plan.sandboxed(), |_, pid| process::add_all(report, CostScenario::Idle, pid))
}

/// Its memory after many invocations, each with log lines and the platform's events.
pub(super) fn invocations(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    with_extension(plan.sandboxed(), |environment, pid| {
        invoke(environment, 1..=WARM)?;
        let warm = process::counted_rss(pid);
        invoke(environment, WARM + 1..=plan.args.invocations)?;
        process::add_all(report, CostScenario::Invocations, pid)?;
        let growth = process::counted_rss(pid).zip(warm).map(|(last, warm)| last - warm);
        report.add_some(CostScenario::Invocations, figure::GROWTH, growth);
        if !environment.posted().iter().any(|post| post.status == Some(200)) {
            report.remark("invocations: the extension took no telemetry");
        }
        Ok(())
    })
}

/// Invocations with log lines and the platform's events. An error names the one that failed.
pub(crate) fn invoke(
    environment: &mut Environment,
    numbers: RangeInclusive<u32>,
) -> io::Result<()> {
    let payload = Work::new(Behavior::Succeed).lines(LINES).payload();
    for number in numbers {
        let outcome = environment.invoke(&payload)?;
        if outcome.status != Status::Success {
            let why = outcome.error_type.unwrap_or_else(|| outcome.status.name().into());
            return Err(io::Error::other(format!("invocation {number} failed: {why}")));
        }
    }
    Ok(())
}

/// Lines of a handler that logs: one of a framework, one of its own, one of JSON.
const LINES: [&str; 3] = [
    "{id} INFO loading the order",
    "the order has 3 items, total 42.00",
    r#"{"level":"info","requestId":"{id}","message":"done","durationMs":12}"#,
];

/// By this invocation everything that is made only once has been made.
pub(super) const WARM: u32 = 10;
