//! `sandbox suite`: every run of a suite beside the agent, as one result table.
//!
//! A run passes if its outcome and its count are as the suite expects, the agent survives, and the
//! agent confirms nothing that did not run out of memory. No run is repeated.

pub(super) mod list;
mod results;

use std::io;
use std::path::Path;

use clap::Parser;

use super::args::{Args, Command, Run, Suite, SuiteName};
use super::case::CaseOutcome;
use super::corpus::verdicts;
use super::progress::{Progress, Task};
use super::table::table;
use super::{At, Result, build, run, set_up, split};
use crate::env::Memory;
use crate::runtimes::Runtime;
use crate::scenario::{ExpectedOutcome, Scenario};
use list::Entry;
use results::Results;

/// One row of the table.
struct Cell {
    suite: &'static str,
    name: String,
    /// The arguments of `sandbox run`.
    words: Vec<String>,
    expected: What,
}

/// Where the expected outcome is.
enum What {
    Scenario(Scenario),
    Entry(ExpectedOutcome),
}

pub(super) fn main(suite: &Suite, place: At<'_>) -> Result {
    let extension = build::argument(suite.extension.as_ref())?;
    let progress = Progress::new();
    let (cells, mut complete) = cells(suite, &progress)?;
    let names = suite.names.iter().map(|name| name.word()).collect::<Vec<_>>().join(" ");
    let mut rows = table(&HEADER);
    let mut results = Results::new(&names, place);
    let (mut failed, mut last) = (0, "");
    let runs = cells.len() as u64 * u64::from(suite.times);
    let bar = progress.bar(&format!("suite {names}"), runs);
    for time in 1..=suite.times {
        for cell in &cells {
            bar.says(&cell.name);
            let ended = cell.run(&extension, place, &bar)?;
            let wrong = cell.wrong(&ended);
            if let Some(wrong) = &wrong {
                failed += 1;
                complete = false;
                eprintln!("{}, time {time}: {wrong}", cell.name);
            }
            if time == 1 || wrong.is_some() {
                if last != cell.suite {
                    results.suite(cell.suite, &HEADER);
                    last = cell.suite;
                }
                let row = cell.row(&ended);
                results.row(&row);
                rows.add_row(row);
            }
            bar.advance();
        }
    }
    bar.ends(&format!("{runs} runs, {failed} not as they should be"));
    println!("{rows}");
    if let Some(file) = &suite.table {
        std::fs::write(file, results.text())?;
    }
    Ok(complete)
}

/// The cells to run. False: a runtime is missing and everything is required.
fn cells(suite: &Suite, progress: &Progress) -> io::Result<(Vec<Cell>, bool)> {
    let (mut cells, mut complete) = (Vec::new(), true);
    let mut ready = Readiness { progress, known: Vec::new() };
    for &name in &suite.names {
        if name == SuiteName::Oom {
            cells.extend(of_runtimes(suite, &mut ready, &mut complete)?);
        }
        cells.extend(of_list(name, suite, &mut ready, &mut complete)?);
    }
    Ok((cells, complete))
}

/// The runtimes that can be used. Each is set up, or reported as missing, only once.
struct Readiness<'a> {
    progress: &'a Progress,
    known: Vec<(String, Option<Runtime>)>,
}

impl Readiness<'_> {
    /// The runtime. `None`: it cannot be used.
    fn runtime(&mut self, name: &str, complete: &mut bool) -> Option<Runtime> {
        if let Some((_, known)) = self.known.iter().find(|(known, _)| known == name) {
            return known.clone();
        }
        let runtime = set_up(name, self.progress, complete);
        self.known.push((name.to_string(), runtime.clone()));
        runtime
    }
}

/// Every scenario of every runtime, at each of its memory sizes, as text and as JSON.
fn of_runtimes(
    suite: &Suite,
    ready: &mut Readiness<'_>,
    complete: &mut bool,
) -> io::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for name in Runtime::all() {
        // A filter that names a runtime sets up that one alone.
        let named = Runtime::all().into_iter().find(|known| suite.filter.starts_with(known));
        if named.is_some_and(|named| named != name) {
            continue;
        }
        let Some(runtime) = ready.runtime(&name, complete) else { continue };
        for scenario in runtime.scenarios()? {
            let sizes = if suite.once { &scenario.memory[..1] } else { &scenario.memory[..] };
            for &memory_mb in sizes {
                for json in [false, true] {
                    let cell = Cell::of_scenario(&name, &scenario, memory_mb, json);
                    if cell.name.contains(&suite.filter) && !(json && suite.once) {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    Ok(cells)
}

/// Every entry of a list whose runtime can be used.
fn of_list(
    name: SuiteName,
    suite: &Suite,
    ready: &mut Readiness<'_>,
    complete: &mut bool,
) -> io::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for entry in list::read(name)? {
        let cell = Cell::of_entry(name.word(), &entry);
        let runtime = cell.words.first().map(String::as_str).unwrap_or_default();
        let usable = runtime == "builtin" || ready.runtime(runtime, complete).is_some();
        if usable && cell.name.contains(&suite.filter) {
            cells.push(cell);
        }
    }
    Ok(cells)
}

impl Cell {
    fn of_scenario(runtime: &str, scenario: &Scenario, memory_mb: u64, json: bool) -> Self {
        let (format, end) = if json { ("json", " json") } else { ("text", "") };
        let size = memory_mb.to_string();
        let words =
            [runtime, "--scenario", &scenario.name, "--memory", &size, "--log-format", format];
        Self {
            suite: SuiteName::Oom.word(),
            name: format!("{runtime} {}{end}", scenario.name),
            words: words.map(String::from).into(),
            expected: What::Scenario(scenario.clone()),
        }
    }

    fn of_entry(suite: &'static str, entry: &Entry) -> Self {
        let words = split(&entry.run);
        let runtime = words.first().cloned().unwrap_or_default();
        let name = format!("{runtime} {}", entry.name);
        Self { suite, name, words, expected: What::Entry(entry.expected.clone()) }
    }

    fn arguments(&self, extension: &str) -> io::Result<Run> {
        let words = ["sandbox", "run"].into_iter().chain(self.words.iter().map(String::as_str));
        let words = words.chain(["--extension", extension]);
        match Args::try_parse_from(words).map_err(io::Error::other)?.command {
            Some(Command::Run(run)) => Ok(*run),
            _ => Err(io::Error::other("not the arguments of a run")),
        }
    }

    fn run(&self, extension: &Path, place: At<'_>, bar: &Task) -> io::Result<CaseOutcome> {
        let (case, _) = run::case(&self.arguments(&extension.to_string_lossy())?)?;
        let steps = bar.clone();
        let name = self.name.clone();
        case.run(Memory::Limited(place.clone()), move |step| steps.says(&format!("{name}: {step}")))
    }

    /// The problem of this run, if it has one.
    fn wrong(&self, ended: &CaseOutcome) -> Option<String> {
        if let Some(why) = ended.extension_died() {
            return Some(format!("the agent died: {why}"));
        }
        let expected = self.expected(ended);
        let Some(first) = ended.outcomes.first() else { return Some("no invocation".into()) };
        if let Some(problem) = expected.problem(first) {
            return Some(problem);
        }
        let confirmed = ended.said.iter().any(|said| said.line["Confidence"] == "confirmed");
        if confirmed && !expected.out_of_memory {
            return Some("confirmed, though memory was not why it failed".into());
        }
        let expected = expected.count;
        (!ended.counted(expected)).then(|| format!("counted {} of {expected}", ended.count))
    }

    fn expected(&self, ended: &CaseOutcome) -> ExpectedOutcome {
        match &self.expected {
            What::Scenario(scenario) => scenario.expected(ended.outcomes.first()),
            What::Entry(expected) => expected.clone(),
        }
    }

    fn row(&self, ended: &CaseOutcome) -> Vec<String> {
        let first = ended.outcomes.first();
        let end = first.map(|outcome| {
            let kind = outcome.error_type.as_deref().unwrap_or_default();
            format!("{} {kind}", outcome.status.name())
        });
        vec![
            self.name.clone(),
            ended.memory_mb.to_string(),
            end.unwrap_or_default().trim().to_string(),
            first.map(|outcome| outcome.killed()).unwrap_or_default(),
            verdicts(ended),
            ended.count.to_string(),
        ]
    }
}

const HEADER: [&str; 6] =
    ["Runtime, scenario", "MB", "Status, errorType", "Killed", "The agent said", "Count"];

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_entry_can_be_parsed_and_has_a_name_of_its_own() {
        for &suite in SuiteName::value_variants() {
            let entries = list::read(suite).expect("a list");
            let mut names: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
            for entry in &entries {
                let cell = Cell::of_entry(suite.word(), entry);
                cell.arguments("test").unwrap_or_else(|why| panic!("{}: {why}", entry.name));
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), entries.len());
        }
    }
}
