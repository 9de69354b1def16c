//! `sandbox corpus`: records the labelled corpus again.
//!
//! In: the list of recordings. Out: a folder of them, its index, and a table of what the extension
//! counted in each.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::args::CorpusArgs;
use super::cell::{self, SuiteCell};
use super::machine::foreign_path;
use super::record::{self, NewRecording};
use super::table::table;
use super::{Result, build, index};
use crate::env::Memory;

pub(super) fn main(corpus: &CorpusArgs, memory: &Memory) -> Result {
    fs::create_dir_all(&corpus.folder)?;
    let extension = build::argument(corpus.extension.as_ref())?;
    let file = |cell: &SuiteCell| corpus.folder.join(format!("{}.ndjson", cell.name));
    let mut cells = cell::corpus()?;
    cells.retain(|cell| cell.name.contains(&corpus.filter));
    cells.retain(|cell| !(corpus.missing && file(cell).exists()));
    let mut rows = table(&[
        "Recording",
        "Status, errorType",
        "Killed",
        "Out of memory",
        "Counted",
        "The agent said",
    ]);
    let mut complete = true;
    for (number, cell) in (1..).zip(&cells) {
        log::info!("{number}/{} {}", cells.len(), cell.name);
        let problem = match record(cell, &file(cell), &extension, memory) {
            Ok(recorded) => {
                rows.add_row(row(&cell.name, &recorded));
                recorded.problem
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            complete = false;
            log::warn!("{}: {problem}", cell.name);
        }
    }
    println!("{rows}");
    index::write(&corpus.folder)?;
    Ok(complete)
}

/// Records a cell. A recording that names a path of this machine loses its file.
fn record(
    cell: &SuiteCell,
    file: &Path,
    extension: &Path,
    memory: &Memory,
) -> io::Result<NewRecording> {
    let words = cell.words.iter().map(String::as_str);
    let words = shlex::try_join(words).map_err(io::Error::other)?;
    let how = format!("sandbox record {}.ndjson {words}", cell.name);
    let arguments = cell.arguments(file, extension)?;
    let mut recorded = record::write(&arguments, memory, cell.case.as_ref(), &how)?;
    if recorded.problem.is_none()
        && let Some(path) = foreign_path(&fs::read_to_string(file)?)
    {
        recorded.problem = Some(format!("it names a path of this machine: {path}"));
        fs::remove_file(file)?;
    }
    Ok(recorded)
}

fn row(name: &str, recorded: &NewRecording) -> [String; 6] {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let each = |cell: &dyn Fn(&Value) -> String| -> String {
        recorded.attempts.iter().map(cell).collect::<Vec<_>>().join("\n")
    };
    let truths =
        recorded.attempts.iter().filter(|attempt| attempt["out_of_memory"] == true).count();
    [
        name.to_string(),
        each(&|attempt| format!("{} {}", text(&attempt["status"]), text(&attempt["error_type"]))),
        each(&|attempt| text(&attempt["killed"])),
        each(&|attempt| text(&attempt["out_of_memory"])),
        format!("{} of {truths}", recorded.outcome.count),
        recorded.outcome.verdicts(),
    ]
}
