//! A cell of a suite or of the corpus: the arguments of `sandbox run`, and the expected outcome.
//!
//! Three places list cells. Each scenario of a runtime is a cell at each of its memory sizes
//! (`runtimes/NAME/scenarios.toml`). `suites/NAME.toml` lists the cases of the other suites:
//!
//! ```toml
//! [[case]]
//! name = "retry-succeeds"
//! about = "it is tried again and succeeds"
//! run = "builtin --behavior grow --invocations 2 --retry --then-succeed"
//! status = "error"
//! error_type = "Runtime.OutOfMemory"
//! victim = "function"
//! count = 1
//! out_of_memory = true
//! ```
//!
//! `corpus.toml` lists the further recordings of the corpus: a name, and the arguments of
//! `sandbox record`.
//!
//! ```toml
//! node-heap-128 = "node --scenario heap --memory 128"
//! ```

use std::io;
use std::path::Path;

use clap::{Parser, ValueEnum};
use serde::Deserialize;

use super::args::{Command, Label, RecordArgs, SandboxArgs, SuiteName};
use super::split;
use crate::scenario::{ExpectedOutcome, Scenario};

/// One run.
#[derive(Clone, Debug)]
pub(super) struct SuiteCell {
    pub(super) name: String,
    /// The arguments of `sandbox run`.
    pub(super) words: Vec<String>,
    /// What a suite says of it. A scenario of a runtime says it itself.
    pub(super) case: Option<SuiteCase>,
}

/// One entry of `suites/NAME.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuiteCase {
    pub(super) name: String,
    pub(super) about: String,
    /// The arguments of `sandbox run`.
    run: String,
    #[serde(flatten)]
    pub(super) expected: ExpectedOutcome,
    /// What each point has at its receiver, as `NAME:VALUE`.
    #[serde(default)]
    pub(super) labels: Vec<String>,
    /// The labels of `sandbox record`, if `out_of_memory` is not the whole truth.
    #[serde(default)]
    label: Option<Label>,
    #[serde(default)]
    init_label: Option<Label>,
}

#[derive(Deserialize)]
struct SuiteFile {
    case: Vec<SuiteCase>,
}

/// The cases of a suite's file. `oom` has none, as its cells are the scenarios of the runtimes.
pub(super) fn cases(suite: SuiteName) -> io::Result<Vec<SuiteCell>> {
    let text = match suite {
        SuiteName::Oom => return Ok(Vec::new()),
        SuiteName::Lmi => include_str!("../../suites/lmi.toml"),
        SuiteName::Lifecycle => include_str!("../../suites/lifecycle.toml"),
        SuiteName::Sinks => include_str!("../../suites/sinks.toml"),
    };
    let file: SuiteFile = toml::from_str(text).map_err(io::Error::other)?;
    let cell = |case: SuiteCase| SuiteCell {
        name: format!("{}-{}", word(&suite), case.name),
        words: split(&case.run),
        case: Some(case),
    };
    Ok(file.case.into_iter().map(cell).collect())
}

/// A recording for each cell of the suites, and more. `corpus.toml` lists those of `oom`. `sinks`
/// has none, as it only changes where the agent sends.
pub(super) fn corpus() -> io::Result<Vec<SuiteCell>> {
    let rest: toml::Table =
        toml::from_str(include_str!("../../corpus.toml")).map_err(io::Error::other)?;
    let cell = |(name, arguments): (String, toml::Value)| SuiteCell {
        name,
        words: split(arguments.as_str().unwrap_or_default()),
        case: None,
    };
    let mut all: Vec<SuiteCell> = rest.into_iter().map(cell).collect();
    for &suite in SuiteName::value_variants() {
        if suite != SuiteName::Sinks {
            all.extend(cases(suite)?);
        }
    }
    for cell in &mut all {
        let Some(case) = &cell.case else { continue };
        let truth = if case.expected.out_of_memory { Label::Oom } else { Label::NotOom };
        cell.words.extend(["--label".into(), word(&case.label.unwrap_or(truth))]);
        if let Some(label) = case.init_label {
            cell.words.extend(["--init-label".into(), word(&label)]);
        }
    }
    Ok(all)
}

impl SuiteCell {
    pub(super) fn of_scenario(runtime: &str, scenario: &Scenario, mb: u64, format: &str) -> Self {
        let size = mb.to_string();
        let words =
            [runtime, "--scenario", &scenario.name, "--memory", &size, "--log-format", format];
        let end = if format == "json" { " json" } else { "" };
        let name = format!("{runtime} {}{end}", scenario.name);
        Self { name, words: words.map(String::from).into(), case: None }
    }

    pub(super) fn runtime(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// Its arguments, with a file for the recording, and an extension.
    pub(super) fn arguments(&self, file: &Path, extension: &Path) -> io::Result<RecordArgs> {
        let [file, extension] = [file, extension].map(|path| path.to_string_lossy().into_owned());
        let begin = ["sandbox", "record", &file].map(String::from).into_iter();
        let words = begin.chain(self.words.iter().cloned());
        let words = words.chain(["--extension".into(), extension]);
        match SandboxArgs::try_parse_from(words).map_err(io::Error::other)?.command {
            Some(Command::Record(record)) => Ok(*record),
            _ => Err(io::Error::other("not the arguments of a recording")),
        }
    }
}

/// A value as it is typed on the command line.
pub(super) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::runtimes::Runtime;

    #[test]
    fn every_cell_can_be_parsed_and_has_a_name_and_a_run_of_its_own() {
        let all = corpus().expect("a list");
        let (mut names, mut runs) = (BTreeSet::new(), BTreeSet::new());
        for cell in &all {
            let name = &cell.name;
            let mut words = cell.words.clone();
            words.sort();
            assert!(names.insert(name), "{name} is there twice");
            assert!(runs.insert(words), "{name} is the run of another");
            let parsed = cell.arguments(Path::new("x"), Path::new("test"));
            parsed.unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }

    #[test]
    fn every_cell_of_the_suites_has_a_recording() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/corpus");
        let files = fs::read_dir(&corpus).expect("the corpus").flatten();
        let files = files.filter_map(|file| {
            Some(file.file_name().to_str()?.strip_suffix(".ndjson")?.to_string())
        });
        let recorded: BTreeSet<String> = files.collect();
        let all = super::corpus().expect("a list");
        let listed: BTreeSet<String> = all.iter().map(|cell| cell.name.clone()).collect();
        let missing: Vec<_> = listed.symmetric_difference(&recorded).collect();
        assert!(missing.is_empty(), "in the list or in the corpus, not in both: {missing:?}");
        let mut cells = BTreeSet::new();
        for cell in &all {
            let run = cell.arguments(Path::new("x"), Path::new("test")).expect("arguments").run;
            cells.insert((run.runtime, run.scenario.unwrap_or_default(), run.memory));
        }
        for runtime in Runtime::all() {
            let described = Runtime::find(&runtime).expect("a description");
            for scenario in described.scenarios().expect("scenarios") {
                for memory_mb in scenario.memory {
                    let cell = (runtime.clone(), scenario.name.clone(), memory_mb);
                    assert!(cells.contains(&cell), "no recording of {cell:?}");
                }
            }
        }
    }
}
