//! What is in the corpus: a recording for each cell of the suites, and more.
//!
//! Each case of `suite lmi` and `suite lifecycle` becomes a recording `SUITE-CASE`. The cells of
//! `suite oom` (runtime, scenario, memory) and all others are in `corpus.toml` beside this
//! package's Cargo.toml: a name, and the arguments of `sandbox record`.
//!
//! ```toml
//! node-heap-128 = "node --scenario heap --memory 128"
//! ```

use std::io;
use std::path::Path;

use clap::{Parser, ValueEnum};

use super::super::args::{Args, Command, Label, Record, SuiteName};
use super::super::record::Expectation;
use super::super::split;
use super::super::suite::list::{self, Entry as Case};

/// One recording to make.
pub(super) struct Entry {
    pub(super) name: String,
    /// The arguments of `sandbox record` after the file.
    pub(super) words: Vec<String>,
    /// The suite's case that it records.
    case: Option<Case>,
}

/// All of them.
pub(super) fn all() -> io::Result<Vec<Entry>> {
    let rest: toml::Table = toml::from_str(REST).map_err(io::Error::other)?;
    let entry = |(name, arguments): (String, toml::Value)| {
        let words = split(arguments.as_str().unwrap_or_default());
        Entry { name, words, case: None }
    };
    let mut all: Vec<Entry> = rest.into_iter().map(entry).collect();
    for &suite in SuiteName::value_variants() {
        let cases = list::read(suite)?.into_iter();
        all.extend(cases.map(|case| Entry::of_case(suite, case)));
    }
    Ok(all)
}

impl Entry {
    fn of_case(suite: SuiteName, case: Case) -> Self {
        let mut words = split(&case.run);
        let whole = if case.expected.out_of_memory { Label::Oom } else { Label::NotOom };
        let mut add = |name: &str, label: Label| {
            let word = label.to_possible_value();
            words
                .extend([name.to_string(), word.map_or_else(String::new, |w| w.get_name().into())]);
        };
        add("--label", case.label.unwrap_or(whole));
        if let Some(label) = case.init_label {
            add("--init-label", label);
        }
        Self { name: format!("{}-{}", suite.word(), case.name), words, case: Some(case) }
    }

    /// Its arguments, with a file and an extension.
    pub(super) fn record(&self, file: &Path, extension: &Path) -> io::Result<Record> {
        let mut all = vec!["sandbox".into(), "record".into(), file.to_string_lossy().into_owned()];
        all.extend(self.words.iter().cloned());
        all.extend(["--extension".into(), extension.to_string_lossy().into_owned()]);
        match Args::try_parse_from(all).map_err(io::Error::other)?.command {
            Some(Command::Record(record)) => Ok(*record),
            _ => Err(io::Error::other("not the arguments of a recording")),
        }
    }

    /// Its arguments as a command line.
    pub(super) fn command(&self) -> io::Result<String> {
        shlex::try_join(self.words.iter().map(String::as_str)).map_err(io::Error::other)
    }

    /// What its suite expects.
    pub(super) fn known(&self) -> Option<Expectation<'_>> {
        self.case.as_ref().map(|case| Expectation { about: &case.about, expected: &case.expected })
    }
}

const REST: &str = include_str!("../../../corpus.toml");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::runtimes::Runtime;

    #[test]
    fn every_entry_can_be_parsed_and_has_a_name_and_a_run_of_its_own() {
        let all = all().expect("a list");
        let (mut names, mut runs) = (BTreeSet::new(), BTreeSet::new());
        for Entry { name, words, .. } in &all {
            let mut words = words.clone();
            words.sort();
            assert!(names.insert(name), "{name} is there twice");
            assert!(runs.insert(words), "{name} is the run of another");
        }
        for entry in &all {
            let parsed = entry.record(Path::new("x"), Path::new("test"));
            parsed.unwrap_or_else(|why| panic!("{}: {why}", entry.name));
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
        let all = all().expect("a list");
        let listed: BTreeSet<String> = all.iter().map(|entry| entry.name.clone()).collect();
        let missing: Vec<_> = listed.symmetric_difference(&recorded).collect();
        assert!(missing.is_empty(), "in the list or in the corpus, not in both: {missing:?}");
        let mut cells = BTreeSet::new();
        for entry in &all {
            let run = entry.record(Path::new("x"), Path::new("test")).expect("arguments").run;
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
