//! `sandbox corpus`: records the labelled corpus again.
//!
//! In: the list of recordings. Out: a folder of them, its index, and a table of what the extension
//! counted in each.

mod list;

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::args::Corpus;
use super::case::CaseOutcome;
use super::machine::foreign_path;
use super::progress::Progress;
use super::record::{self, NewRecording};
use super::table::table;
use super::{At, Result, build, index};
use crate::env::Memory;

pub(super) fn main(corpus: &Corpus, place: At<'_>) -> Result {
    fs::create_dir_all(&corpus.folder)?;
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
    for entry in list::all()? {
        let name = &entry.name;
        let file = corpus.folder.join(format!("{name}.ndjson"));
        if !name.contains(&corpus.filter) || (corpus.missing && file.exists()) {
            continue;
        }
        let task = progress.spinner(name);
        let how = format!("sandbox record {name}.ndjson {}", entry.command()?);
        let record = entry.record(&file, &extension)?;
        let memory = Memory::Limited(place.clone());
        let recorded = record::write(&record, memory, entry.known().as_ref(), &how, &task);
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

/// Why this recording does not belong in a corpus. It then has no file.
fn problem(file: &Path, recorded: &NewRecording) -> io::Result<Option<String>> {
    if recorded.problem.is_some() {
        return Ok(recorded.problem.clone());
    }
    let text = fs::read_to_string(file)?;
    let Some(path) = foreign_path(&text) else { return Ok(None) };
    fs::remove_file(file)?;
    Ok(Some(format!("it names a path of this machine: {path}")))
}

fn row(name: &str, recorded: &NewRecording) -> Vec<String> {
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

/// The text between the brackets of each of the agent's sentences. Equal ones in a row become one.
pub(super) fn verdicts(ended: &CaseOutcome) -> String {
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
