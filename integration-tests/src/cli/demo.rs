//! `sandbox` without a command: builds the agent and shows the main job, at 192 MB.

use clap::Parser;

use super::args::{Command, SandboxArgs};
use super::case::{Case, CaseOutcome};
use super::table::{memory as figures, table};
use super::{Result, build, set_up};
use crate::env::Memory;
use crate::runtimes::Runtime;

pub(super) fn main(memory: &Memory) -> Result {
    let extension = build::argument(None)?.to_string_lossy().into_owned();
    let mut complete = true;
    let mut functions = vec![("builtin".to_string(), "1"), ("builtin".to_string(), "16")];
    // The setup of the others takes minutes, and one runtime shows as much as all.
    let mut runtimes = Runtime::all();
    runtimes.retain(|name| name == "python" || Runtime::is_ready(name));
    runtimes.retain(|name| set_up(name, &mut complete).is_some());
    functions.extend(runtimes.into_iter().map(|name| (name, "1")));
    let mut rows = table(&[
        "Function",
        "Status, errorType",
        "The kernel killed",
        "The agent said",
        "Count",
        "Agent, KiB: RSS / RssAnon / VmHWM",
    ]);
    for (name, workers) in &functions {
        let end = if *workers == "1" { "" } else { "es" };
        let function = format!("{name}, {workers} process{end}, 192 MB");
        log::info!("{function}");
        let words = ["sandbox", "run", name, "--workers", workers, "--memory", "192"];
        let words = words.into_iter().chain(["--timeout", "60", "--extension", &extension]);
        let Some(Command::Run(run)) = SandboxArgs::parse_from(words).command else { continue };
        let outcome = Case::new(&run)?.run(memory)?;
        if let Some(problem) = problem(&outcome) {
            complete = false;
            log::warn!("{name}: {problem}");
        }
        rows.add_row([
            function,
            outcome.end(),
            outcome.killed(),
            outcome.verdicts(),
            outcome.count.to_string(),
            figures(outcome.environment.peak()),
        ]);
    }
    println!("{rows}");
    println!("The agent is a glibc build here. `cargo layer` builds one a tenth as large.");
    Ok(complete)
}

/// The problem after one kill, if there is one.
fn problem(outcome: &CaseOutcome) -> Option<String> {
    if let Some(problem) = outcome.problem() {
        return Some(problem);
    }
    if !outcome.function_killed() {
        return Some("the kernel did not kill the function".into());
    }
    (!outcome.counted(1)).then(|| format!("counted {} times", outcome.count))
}
