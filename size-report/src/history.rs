//! The history: a file with one JSON line for each run, or each cell of `survival`, for a chart.
//!
//! ```json
//! {"date":"2026-11-02T10:00:00Z","commit":"1a2b3c4","changed":false,"subject":"oom-witness",
//!  "build":"layer","repetitions":5,"figures":{"idle.rss_kib":[432,428,436]}}
//! ```
//!
//! A figure is its median, least and most. Lines are only appended.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::report::{CostReport, Measurement};

/// The start of a line: the commit, and whether the files of this tree differ from it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stamp {
    commit: Option<String>,
    changed: Option<bool>,
}

/// A line of the file.
#[derive(Serialize)]
struct HistoryLine<'a, T> {
    date: String,
    #[serde(flatten)]
    stamp: &'a Stamp,
    #[serde(flatten)]
    members: &'a T,
}

impl Stamp {
    /// The state of the tree in the current folder, or of this workspace. Empty without git.
    pub(crate) fn now() -> Self {
        let here = Path::new(".");
        let is_tree = git(here, &["rev-parse"]).is_ok();
        let folder = if is_tree { here.into() } else { sandbox::workspace().unwrap_or_default() };
        let changed = git(&folder, &["status", "--porcelain", "--untracked-files=no"]);
        let commit = git(&folder, &["rev-parse", "--short", "HEAD"]).ok();
        Self { commit, changed: changed.ok().map(|text| !text.is_empty()) }
    }

    /// Appends one line in one write, so that it is whole or cut at its end.
    pub(crate) fn append(&self, file: &Path, members: &impl Serialize) -> io::Result<()> {
        let now = Timestamp::now();
        let date = now.round(Unit::Second).unwrap_or(now).to_string();
        let line = serde_json::to_string(&HistoryLine { date, stamp: self, members })?;
        let was_cut = fs::read(file).is_ok_and(|text| text.last().is_some_and(|&end| end != b'\n'));
        let end_of_cut = if was_cut { "\n" } else { "" };
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(format!("{end_of_cut}{line}\n").as_bytes())
    }
}

/// The lines of a history that are of this type. The last line of each key counts, and a line that
/// was cut does not.
pub(crate) fn read<T: DeserializeOwned, K: PartialEq>(text: &str, key: fn(&T) -> &K) -> Vec<T> {
    let mut lines: Vec<T> = Vec::new();
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match lines.iter_mut().find(|known| key(known) == key(&line)) {
            Some(known) => *known = line,
            None => lines.push(line),
        }
    }
    lines
}

/// A run without the words about each figure, which are in the catalogue.
pub(crate) fn of_report(report: &CostReport) -> Value {
    let figure = |measurement: &Measurement| {
        let (median, min, max) = (measurement.median(), measurement.min(), measurement.max());
        (measurement.name(), json!([median, min, max]))
    };
    json!({
        "subject": report.subject,
        "build": report.build,
        "repetitions": report.repetitions,
        "figures": Value::Object(report.measurements.iter().map(figure).collect()),
    })
}

/// The output of git in a folder.
pub(crate) fn git(folder: &Path, words: &[&str]) -> io::Result<String> {
    let output =
        Command::new("git").args(words).current_dir(folder).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CostScenario, RSS};

    #[test]
    fn a_line_has_date_commit_and_figures() {
        let mut report =
            CostReport { build: "gnu".into(), repetitions: 1, ..CostReport::default() };
        for value in [432, 428, 436] {
            report.add(CostScenario::Idle, RSS, value);
        }
        let stamp = Stamp { commit: Some("1a2b3c4".into()), changed: Some(true) };
        let (date, members) = ("2026-11-02T10:00:00Z".into(), &of_report(&report));
        let line = HistoryLine { date, stamp: &stamp, members };
        assert_eq!(
            serde_json::to_string(&line).expect("a line"),
            concat!(
                r#"{"date":"2026-11-02T10:00:00Z","commit":"1a2b3c4","changed":true,"#,
                r#""subject":"","build":"gnu","repetitions":1,"#,
                r#""figures":{"idle.rss_kib":[432,428,436]}}"#
            )
        );
    }
}
