//! `sandbox corpus`: the labelled corpus, recorded again.
//!
//! In: `corpus.toml` beside this package's Cargo.toml, a name and the arguments of `sandbox record`
//! each. Out: a folder of recordings, and a table of what the extension counted in each.
//!
//! ```toml
//! node-heap-128 = "node --scenario heap --memory 128"
//! ```

use std::fs;
use std::io;
use std::path::Path;

use clap::Parser;
use serde_json::Value;

use super::args::{Args, Command, Corpus, Record};
use super::case::Ended;
use super::machine::foreign_path;
use super::progress::Progress;
use super::record::{self, Recorded};
use super::table::table;
use super::{At, Result, build, index};
use crate::env::Memory;

pub(super) fn main(corpus: &Corpus, place: At<'_>) -> Result {
    fs::create_dir_all(&corpus.folder)?;
    let list: toml::Table = toml::from_str(LIST).map_err(io::Error::other)?;
    let extension = build::argument(corpus.extension.as_ref())?;
    let mut rows = table(&[
        "Recording",
        "Status, errorType",
        "Killed",
        "Out of memory",
        "Counted",
        "The agent said",
    ]);
    let (progress, mut complete) = (Progress::new(), true);
    for (name, arguments) in &list {
        let file = corpus.folder.join(format!("{name}.ndjson"));
        if !name.contains(&corpus.filter) || (corpus.missing && file.exists()) {
            continue;
        }
        let task = progress.spinner(name);
        let arguments = words(arguments.as_str().unwrap_or_default());
        let how = format!("sandbox record {name}.ndjson {}", shown(&arguments));
        let record = parse(&file, arguments, &extension)?;
        let recorded = record::write(&record, Memory::Limited(place.clone()), &how, &task);
        match recorded.and_then(|recorded| Ok((problem(&file, &recorded)?, recorded))) {
            Ok((problem, recorded)) => {
                complete &= problem.is_none();
                task.ends(problem.as_deref().unwrap_or("recorded"));
                rows.add_row(row(name, &recorded));
            }
            Err(error) => {
                complete = false;
                task.ends(&error.to_string());
            }
        }
    }
    println!("{rows}");
    index::write(&corpus.folder)?;
    Ok(complete)
}

/// Why this recording does not belong in a corpus; then it has no file.
fn problem(file: &Path, recorded: &Recorded) -> io::Result<Option<String>> {
    if recorded.problem.is_some() {
        return Ok(recorded.problem.clone());
    }
    let text = fs::read_to_string(file)?;
    let Some(path) = foreign_path(&text) else { return Ok(None) };
    fs::remove_file(file)?;
    Ok(Some(format!("it names a path of this machine: {path}")))
}

fn parse(file: &Path, arguments: Vec<String>, extension: &Path) -> io::Result<Record> {
    let mut all = vec!["sandbox".into(), "record".into(), file.to_string_lossy().into_owned()];
    all.extend(arguments);
    all.extend(["--extension".into(), extension.to_string_lossy().into_owned()]);
    match Args::try_parse_from(all).map_err(io::Error::other)?.command {
        Some(Command::Record(record)) => Ok(*record),
        _ => Err(io::Error::other("not the arguments of a recording")),
    }
}

fn row(name: &str, recorded: &Recorded) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let each = |tell: &dyn Fn(&Value) -> String| -> String {
        recorded.attempts.iter().map(tell).collect::<Vec<_>>().join("\n")
    };
    let truths =
        recorded.attempts.iter().filter(|attempt| attempt["out_of_memory"] == true).count();
    vec![
        name.to_string(),
        each(&|attempt| format!("{} {}", text(&attempt["status"]), text(&attempt["error_type"]))),
        each(&|attempt| text(&attempt["killed"])),
        each(&|attempt| text(&attempt["out_of_memory"])),
        format!("{} of {truths}", recorded.ended.count),
        verdicts(&recorded.ended),
    ]
}

/// What is between the brackets of each sentence that the agent says of an invocation; the same
/// several times is said once.
pub(super) fn verdicts(ended: &Ended) -> String {
    let inner = |message: &str| {
        let start = message.find('(').map_or(0, |at| at + 1);
        message[start..].trim_end_matches(')').to_string()
    };
    let mut all: Vec<(String, u32)> = Vec::new();
    for message in ended.sentences() {
        let verdict = inner(&message);
        match all.last_mut().filter(|last| last.0 == verdict) {
            Some(last) => last.1 += 1,
            None => all.push((verdict, 1)),
        }
    }
    let each = |(verdict, times): &(String, u32)| match times {
        1 => verdict.clone(),
        times => format!("{times} times {verdict}"),
    };
    let all: Vec<_> = all.iter().map(each).collect();
    if all.is_empty() { "-".into() } else { all.join("\n") }
}

/// Words between blanks; a quoted one may hold blanks.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in text.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_string());
        } else {
            words.extend(part.split_whitespace().map(str::to_string));
        }
    }
    words
}

fn shown(words: &[String]) -> String {
    let quoted = |word: &String| {
        if word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

const LIST: &str = include_str!("../../corpus.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_can_be_parsed() {
        let list: toml::Table = toml::from_str(LIST).expect("a table");
        for (name, arguments) in &list {
            let arguments = words(arguments.as_str().expect("a string"));
            parse(Path::new("x"), arguments, Path::new("test"))
                .unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }

    #[test]
    fn a_quoted_word_may_hold_blanks() {
        assert_eq!(words("a --line 'b  c' d"), ["a", "--line", "b  c", "d"]);
        assert_eq!(shown(&words("a --line 'b c'")), "a --line 'b c'");
    }
}
