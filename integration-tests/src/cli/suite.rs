//! `sandbox suite oom`: every scenario of every runtime, beside the agent, as one result table.
//!
//! A scenario holds when it ends as its `scenarios.toml` says, the agent counts as often as it says
//! and lives, and nothing is called confirmed that did not fail for want of memory.

use std::io;
use std::path::Path;

use clap::Parser;
use serde_json::json;

use super::args::{Args, Command, Run, Suite};
use super::case::Ended;
use super::corpus::verdicts;
use super::progress::{Progress, Task};
use super::record::problem;
use super::table::{memory, table};
use super::{At, Result, build, require_all, run};
use crate::env::Memory;
use crate::runtimes::Runtime;
use crate::scenario::Scenario;

/// One row of the table.
struct Cell {
    runtime: String,
    scenario: Scenario,
    memory_mb: u64,
    json: bool,
}

pub(super) fn main(suite: &Suite, place: At<'_>) -> Result {
    let extension = build::argument(suite.extension.as_ref())?;
    let progress = Progress::new();
    let (cells, mut complete) = cells(suite, &progress)?;
    let mut rows = table(&HEADER);
    let mut markdown = markdown(&HEADER, &["---"; HEADER.len()].map(String::from));
    let (mut all, mut failed) = (Vec::new(), 0);
    let bar = progress.bar("suite oom", cells.len() as u64);
    for cell in &cells {
        bar.says(&cell.name());
        let ended = cell.run(&extension, place, &bar)?;
        let wrong = cell.wrong(&ended);
        if let Some(wrong) = &wrong {
            failed += 1;
            eprintln!("{} at {} MB: {wrong}", cell.name(), cell.memory_mb);
        }
        complete &= wrong.is_none();
        let row = cell.row(&ended);
        markdown.push_str(&line(&row));
        rows.add_row(row);
        all.push(json!({
            "runtime": cell.runtime, "scenario": cell.scenario.name, "memoryMB": cell.memory_mb,
            "json": cell.json, "outOfMemory": cell.scenario.out_of_memory, "wrong": wrong,
            "ended": ended.json(),
        }));
        bar.advance();
    }
    bar.ends(&format!("{} scenarios, {failed} not as they should be", cells.len()));
    println!("{rows}");
    if let Some(file) = &suite.table {
        std::fs::write(file, markdown)?;
    }
    if let Some(file) = &suite.json {
        std::fs::write(file, format!("{:#}\n", json!(all)))?;
    }
    Ok(complete)
}

/// What is to be run; false: a runtime is missing and everything is required.
fn cells(suite: &Suite, progress: &Progress) -> io::Result<(Vec<Cell>, bool)> {
    let (mut cells, mut complete) = (Vec::new(), true);
    for name in Runtime::all() {
        // A filter that names a runtime sets up that one alone.
        let named = Runtime::all().into_iter().find(|known| suite.filter.starts_with(known));
        if named.is_some_and(|named| named != name) {
            continue;
        }
        let task = progress.spinner(&name);
        let runtime = match Runtime::ready(&name, |step| task.says(step)) {
            Ok(runtime) => runtime,
            Err(missing) => {
                complete &= !require_all();
                task.ends(&format!("skipped, missing {}: {}", missing.what, missing.command));
                continue;
            }
        };
        task.ends("ready");
        for scenario in runtime.scenarios()? {
            let sizes = if suite.once { &scenario.memory[..1] } else { &scenario.memory[..] };
            for &memory_mb in sizes {
                for json in [false, true] {
                    let (runtime, scenario) = (name.clone(), scenario.clone());
                    let cell = Cell { runtime, scenario, memory_mb, json };
                    if cell.name().contains(&suite.filter) && !(json && suite.once) {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    Ok((cells, complete))
}

impl Cell {
    fn name(&self) -> String {
        let format = if self.json { " json" } else { "" };
        format!("{} {}{format}", self.runtime, self.scenario.name)
    }

    fn run(&self, extension: &Path, place: At<'_>, bar: &Task) -> io::Result<Ended> {
        let (size, extension) = (self.memory_mb.to_string(), extension.to_string_lossy());
        let format = if self.json { "json" } else { "text" };
        let words = ["sandbox", "run", &self.runtime, "--scenario", &self.scenario.name];
        let more = ["--memory", &size, "--log-format", format, "--extension", &extension];
        let (case, _) = run::case(&parse(words.into_iter().chain(more))?)?;
        let steps = bar.clone();
        let name = self.name();
        case.run(Memory::Limited(place.clone()), move |step| steps.says(&format!("{name}: {step}")))
    }

    /// What is not as it should be.
    fn wrong(&self, ended: &Ended) -> Option<String> {
        // A failed init is the scenario's, not the agent's.
        let agent_died = ended.outcomes.iter().find(|outcome| {
            outcome.extension_killed() || outcome.error_type.as_deref() == Some("Extension.Crash")
        });
        if agent_died.is_some() {
            return Some("the agent died".into());
        }
        if let Some(problem) = problem(&self.scenario, ended) {
            return Some(problem);
        }
        let confirmed = ended.said.iter().any(|said| said.line["Confidence"] == "confirmed");
        if confirmed && !self.scenario.out_of_memory {
            return Some("confirmed, though memory was not why it failed".into());
        }
        let expected = self.scenario.count;
        (!ended.counted(expected)).then(|| format!("counted {} of {expected}", ended.count))
    }

    fn row(&self, ended: &Ended) -> Vec<String> {
        let first = ended.outcomes.first();
        let end = first.map(|outcome| {
            let kind = outcome.error_type.as_deref().unwrap_or_default();
            format!("{} {kind}", outcome.status.name())
        });
        vec![
            self.name(),
            self.memory_mb.to_string(),
            end.unwrap_or_default(),
            first.map(|outcome| outcome.killed()).unwrap_or_default(),
            verdicts(ended),
            ended.count.to_string(),
            memory(ended.peak),
        ]
    }
}

fn markdown(header: &[&str], rule: &[String]) -> String {
    let header: Vec<_> = header.iter().map(ToString::to_string).collect();
    format!("{}{}", line(&header), line(rule))
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | ").replace('\n', "<br>"))
}

const HEADER: [&str; 7] = [
    "Runtime, scenario",
    "MB",
    "Status, errorType",
    "Killed",
    "The agent said",
    "Count",
    "Agent, KiB: RSS / RssAnon / VmHWM",
];

fn parse<'a>(words: impl Iterator<Item = &'a str>) -> io::Result<Run> {
    match Args::try_parse_from(words).map_err(io::Error::other)?.command {
        Some(Command::Run(run)) => Ok(*run),
        _ => Err(io::Error::other("not the arguments of a run")),
    }
}
