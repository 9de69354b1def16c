//! `sandbox run`: runs one function beside one extension, and shows everything.

use super::Result;
use super::args::RunArgs;
use super::case::{Case, CaseOutcome};
use super::table::{memory as figures, table};
use crate::clock;
use crate::env::Memory;
use crate::receiver::SinkChoice;

pub(super) fn main(run: &RunArgs, memory: &Memory) -> Result {
    let outcome = Case::new(run)?.run(memory)?;
    show(run, &outcome);
    let problem = outcome.problem();
    if let Some(problem) = &problem {
        eprintln!("{problem}");
    }
    let expected = run.expect.is_none_or(|expected| outcome.counted(expected));
    if !expected {
        eprintln!("expected a count of {}", run.expect.unwrap_or_default());
    }
    Ok(problem.is_none() && expected)
}

fn show(run: &RunArgs, case: &CaseOutcome) {
    let mut rows =
        table(&["Invocation", "Status", "errorType", "The kernel killed", "MB used", "ms"]);
    for outcome in &case.outcomes {
        rows.add_row([
            outcome.request_id.clone(),
            outcome.status.name().to_string(),
            outcome.error_type.clone().unwrap_or_default(),
            outcome.killed(),
            outcome.max_memory_used_mb.to_string(),
            format!("{:.0}", clock::ms(outcome.duration)),
        ]);
    }
    println!("{rows}");
    for line in case.environment.function_lines() {
        println!("function  {}", line.text);
    }
    for line in case.environment.extension_lines() {
        println!("extension {}", line.text);
    }
    // The EMF lines are shown already.
    for point in case.points.iter().filter(|_| run.sink != SinkChoice::Emf) {
        println!("received  {point}");
    }
    println!("count     {}", case.count);
    println!(
        "memory    {} KiB (RSS / RssAnon / VmHWM of the extension)",
        figures(case.environment.peak())
    );
}
