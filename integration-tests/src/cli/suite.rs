//! `sandbox suite`: every run of a suite beside the agent, as one result table.
//!
//! A run passes if its outcome and its count are as the suite expects, the agent survives, and the
//! agent confirms nothing that did not run out of memory. No run is repeated.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::args::{SuiteArgs, SuiteName};
use super::case::{Case, CaseOutcome};
use super::cell::{SuiteCell, cases, word};
use super::table::table;
use super::{Result, build, require_all, set_up};
use crate::cgroup::{Place, Version};
use crate::env::Memory;
use crate::receiver::{Point, Receiver};
use crate::runtimes::Runtime;

/// The cells of a row of the table.
type SuiteRow = [String; 6];

pub(super) fn main(suite: &SuiteArgs, memory: &Memory) -> Result {
    let extension = build::argument(suite.extension.as_ref())?;
    let (cells, mut complete) = cells(suite, &extension)?;
    let runs = cells.len() as u64 * u64::from(suite.times);
    let (mut rows, mut run, mut failed) = (Vec::new(), 0_u64, 0);
    for time in 1..=suite.times {
        for (name, cell) in &cells {
            run += 1;
            log::info!("{run}/{runs} {}", cell.name);
            let arguments = cell.arguments("not-recorded".as_ref(), &extension)?;
            let case = Case::new(&arguments.run)?;
            let outcome = case.run(memory)?;
            let problem = problem(cell, &case, &outcome);
            if let Some(problem) = &problem {
                failed += 1;
                log::warn!("{}, time {time}: {problem}", cell.name);
            }
            if time == 1 || problem.is_some() {
                rows.push((*name, row(&cell.name, arguments.run.memory, &outcome)));
            }
        }
    }
    complete &= failed == 0;
    let mut shown = table(&HEADER);
    shown.add_rows(rows.iter().map(|(_, row)| row));
    println!("{shown}\n{runs} runs, {failed} not as they should be");
    if let Some(file) = &suite.table {
        std::fs::write(file, markdown(suite, &rows, memory))?;
    }
    Ok(complete)
}

/// The cells to run. False: a runtime is missing and everything is required.
fn cells(suite: &SuiteArgs, extension: &Path) -> io::Result<(Vec<(SuiteName, SuiteCell)>, bool)> {
    let (mut all, mut complete, mut has_programs) = (Vec::new(), true, true);
    // Each runtime is set up, or reported as missing, only once.
    let mut known: HashMap<String, Option<Runtime>> = HashMap::new();
    let mut ready = |name: &str| {
        let set_up = || set_up(name, &mut complete);
        known.entry(name.to_string()).or_insert_with(set_up).clone()
    };
    // A filter that names a runtime sets up that one alone.
    let mut runtimes = Runtime::all();
    if let Some(named) = runtimes.iter().find(|name| suite.filter.starts_with(*name)).cloned() {
        runtimes.retain(|name| *name == named);
    }
    for &name in &suite.names {
        let mut cells = Vec::new();
        for runtime in runtimes.iter().filter(|_| name == SuiteName::Oom) {
            let Some(ready) = ready(runtime) else { continue };
            for scenario in ready.scenarios()? {
                let sizes = if suite.once { &scenario.memory[..1] } else { &scenario.memory[..] };
                let formats = if suite.once { &["text"][..] } else { &["text", "json"] };
                for &mb in sizes {
                    let cell = |format| SuiteCell::of_scenario(runtime, &scenario, mb, format);
                    cells.extend(formats.iter().copied().map(cell));
                }
            }
        }
        for mut cell in cases(name)? {
            let runtime = cell.runtime().to_string();
            if runtime == "builtin" || ready(&runtime).is_some() {
                let case = cell.case.as_ref().map(|case| case.name.as_str());
                cell.name = format!("{runtime} {}", case.unwrap_or_default());
                cells.push(cell);
            }
        }
        cells.retain(|cell| cell.name.contains(&suite.filter));
        for cell in cells {
            if has_receiver(&cell, extension, &mut has_programs)? {
                all.push((name, cell));
            }
        }
    }
    complete &= has_programs || !require_all();
    Ok((all, complete))
}

/// Whether the cell's metrics can be received here. A program that this machine lacks is
/// noted.
fn has_receiver(cell: &SuiteCell, extension: &Path, has_programs: &mut bool) -> io::Result<bool> {
    let run = cell.arguments("not-recorded".as_ref(), extension)?.run;
    if let Some(program) = Receiver::missing_program(run.sink, run.key) {
        log::warn!("{}: skipped, no {program}: .ci/setup installs it", cell.name);
        *has_programs = false;
        return Ok(false);
    }
    Ok(true)
}

/// The problem of this run, if it has one.
fn problem(cell: &SuiteCell, case: &Case<'_>, outcome: &CaseOutcome) -> Option<String> {
    if let Some(problem) = outcome.problem() {
        return Some(problem);
    }
    let Some(first) = outcome.outcomes.first() else { return Some("no invocation".into()) };
    let of_suite = cell.case.as_ref().map(|entry| entry.expected.clone());
    let of_scenario = || case.scenario.as_ref().map(|scenario| scenario.expected(first));
    let Some(expected) = of_suite.or_else(of_scenario) else {
        return Some("nobody says what to expect".into());
    };
    if let Some(problem) = expected.problem(first) {
        return Some(problem);
    }
    let confirmed = outcome.detections.iter().any(|emf| emf.line["Confidence"] == "confirmed");
    if confirmed && !expected.out_of_memory {
        return Some("confirmed, though memory was not why it failed".into());
    }
    let expected = expected.count;
    if !outcome.counted(expected) {
        return Some(format!("counted {} of {expected}", outcome.count));
    }
    let labels = cell.case.iter().flat_map(|case| &case.labels);
    missing_label(&outcome.points, labels)
}

/// The first of these labels that a point lacks.
fn missing_label<'a>(
    points: &[Point],
    mut labels: impl Iterator<Item = &'a String>,
) -> Option<String> {
    let lacks = |label: &&String| points.iter().find(|point| !point.labels.contains(label));
    labels.find_map(|label| Some(format!("no {label} in: {}", lacks(&label)?)))
}

fn row(name: &str, memory_mb: u64, outcome: &CaseOutcome) -> SuiteRow {
    [
        name.to_string(),
        memory_mb.to_string(),
        outcome.end(),
        outcome.killed(),
        outcome.verdicts(),
        outcome.count.to_string(),
    ]
}

/// The results as Markdown: RESULTS.md of this package.
fn markdown(suite: &SuiteArgs, rows: &[(SuiteName, SuiteRow)], memory: &Memory) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = match memory {
        Memory::Limited(Place { version: Version::V1, .. }) => "cgroup v1",
        Memory::Limited(Place { version: Version::V2, .. }) => "cgroup v2",
        Memory::Unlimited => "no cgroup",
    };
    let names = suite.names.iter().map(word).collect::<Vec<_>>().join(" ");
    let date = Timestamp::now().strftime("%Y-%m-%d");
    let mut text = format!(
        "# Results\n\n\
         Written by `sandbox suite {names} --table FILE` on {date}: kernel\n\
         {}, {version}. `suspected`: the agent is not sure. Status, errorType and killed\n\
         processes are those of the first invocation. A run without a second one has no report\n\
         after a failure, as on AWS. No row comes from AWS: [README.md](README.md) says what only\n\
         AWS could tell.\n",
        kernel.trim()
    );
    for rows in rows.chunk_by(|a, b| a.0 == b.0) {
        text += &format!("\n## Suite `{}`\n\n| {} |\n", word(&rows[0].0), HEADER.join(" | "));
        text += &format!("|{}\n", " --- |".repeat(HEADER.len()));
        for (_, row) in rows {
            text += &format!("| {} |\n", row.join(" | ").replace('\n', "<br>"));
        }
    }
    text
}

const HEADER: [&str; 6] =
    ["Runtime, scenario", "MB", "Status, errorType", "Killed", "The agent said", "Count"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_needs_each_label() {
        let labels = ["a:1".to_string(), "b:2".to_string()];
        let point = |labels: &[String]| Point { value: 1.0, labels: labels.to_vec() };
        let missing = |points: &[Point]| missing_label(points, labels.iter());
        assert_eq!(missing(&[point(&labels), point(&labels)]), None);
        let found = missing(&[point(&labels), point(&labels[..1])]);
        assert_eq!(found.as_deref(), Some("no b:2 in: 1 a:1"));
    }
}
