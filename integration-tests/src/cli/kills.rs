//! `sandbox kills`: the acceptance matrix. Each run is one kill; each must count once.

use std::io;
use std::time::Instant;

use serde_json::{Value, json};

use super::args::Kills;
use super::case::Case;
use super::demo::problem;
use super::progress::{Progress, Task};
use super::table::{memory, table};
use super::{At, Result, build, require_all};
use crate::env::Memory;
use crate::outcome::Outcome;
use crate::procfs::ProcStatus;
use crate::runtimes::Runtime;
use crate::work::{Behavior, Work};

/// A function of the matrix.
struct Cell {
    name: String,
    runtime: Option<Runtime>,
    workers: u32,
}

/// What a row of the table adds up.
#[derive(Default)]
struct Tally {
    killed: u32,
    alive: u32,
    once: u32,
    kills: u64,
    peak: Option<ProcStatus>,
    problems: Vec<String>,
    runs: Vec<Value>,
}

pub(super) fn main(kills: &Kills, place: At<'_>) -> Result {
    let progress = Progress::new();
    let (cells, mut complete) = cells(kills, &progress)?;
    let extension = build::extension(kills.extension.as_ref())?;
    let mut rows = table(&[
        "Function",
        "MB",
        "Runs",
        "Function killed",
        "Agent alive",
        "Counted once",
        "Kernel kills",
        "Agent, KiB: RSS / RssAnon / VmHWM",
        "s",
    ]);
    let mut all = Vec::new();
    for cell in &cells {
        for &memory_mb in &kills.memory {
            let begun = Instant::now();
            let task = progress.bar(&format!("{} {memory_mb} MB", cell.name), kills.runs.into());
            let mut case = Case::new(cell.runtime.clone(), extension.clone(), memory_mb);
            case.sink = kills.sink;
            case.payloads = vec![Work::new(Behavior::Grow).workers(cell.workers).payload()];
            if kills.then_succeed {
                case.payloads.push(Work::new(Behavior::Succeed).payload());
            }
            let tally = repeat(&case, kills.runs, place, &task)?;
            let good = tally.problems.is_empty();
            complete &= good;
            task.ends(if good { "as expected" } else { &tally.problems[0] });
            if let [_, others @ ..] = tally.problems.as_slice() {
                for problem in others.iter().take(PROBLEMS_SHOWN) {
                    eprintln!("{} {memory_mb} MB: {problem}", cell.name);
                }
                if others.len() > PROBLEMS_SHOWN {
                    eprintln!("... and {} more", others.len() - PROBLEMS_SHOWN);
                }
            }
            rows.add_row([
                cell.name.clone(),
                memory_mb.to_string(),
                kills.runs.to_string(),
                tally.killed.to_string(),
                tally.alive.to_string(),
                tally.once.to_string(),
                tally.kills.to_string(),
                memory(tally.peak),
                format!("{:.0}", begun.elapsed().as_secs_f64()),
            ]);
            all.push(json!({
                "function": cell.name, "memoryMB": memory_mb, "runs": kills.runs,
                "functionKilled": tally.killed, "agentAlive": tally.alive,
                "countedOnce": tally.once, "kernelKills": tally.kills, "peak": tally.peak,
                "each": tally.runs,
            }));
        }
    }
    println!("{rows}");
    if let Some(file) = &kills.json {
        std::fs::write(file, format!("{:#}\n", Value::from(all)))?;
    }
    Ok(complete)
}

fn repeat(case: &Case, runs: u32, place: At<'_>, task: &Task) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for run in 1..=runs {
        let steps = task.clone();
        let ended = case.run(Memory::Limited(place.clone()), move |step| steps.says(step))?;
        let died = ended.extension_died();
        tally.killed += u32::from(ended.function_killed());
        tally.alive += u32::from(died.is_none());
        tally.once += u32::from(ended.counted(1));
        tally.kills += ended.outcomes.iter().map(|outcome| outcome.oom_kills).sum::<u64>();
        if let Some(peak) = ended.peak {
            tally.peak = Some(tally.peak.map_or(peak, |most| most.max(peak)));
        }
        let problem = problem(&ended);
        if let Some(problem) = &problem {
            tally.problems.push(format!("run {run}: {problem}"));
        }
        tally.runs.push(json!({
            "count": ended.count,
            "killed": ended.outcomes.iter().map(Outcome::killed).collect::<Vec<_>>(),
            "extensionDied": died,
            "peak": ended.peak,
            "everything": problem.map(|_| ended.json()),
        }));
        task.advance();
    }
    Ok(tally)
}

/// The functions, set up; false: one is missing and everything is required.
fn cells(kills: &Kills, progress: &Progress) -> io::Result<(Vec<Cell>, bool)> {
    let (mut cells, mut complete) = (Vec::new(), true);
    for name in &kills.functions {
        let (base, workers) = name.split_once(':').unwrap_or((name, "1"));
        let workers =
            workers.parse().map_err(|_| io::Error::other(format!("{name}: not NAME:WORKERS")))?;
        let runtime = if base == "builtin" {
            None
        } else {
            let task = progress.spinner(base);
            match Runtime::ready(base, |step| task.says(step)) {
                Ok(runtime) => {
                    task.ends("ready");
                    Some(runtime)
                }
                Err(missing) => {
                    complete &= !require_all();
                    task.ends(&format!("skipped, missing {}: {}", missing.what, missing.command));
                    continue;
                }
            }
        };
        cells.push(Cell { name: name.clone(), runtime, workers });
    }
    Ok((cells, complete))
}

/// More say the same; all are in the JSON file.
const PROBLEMS_SHOWN: usize = 3;
