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
use serde_json::{Value, json};

use crate::report::{CostReport, Measurement};

/// The start of a line: the commit, and whether the files of this tree differ from it.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    commit: Option<String>,
    changed: Option<bool>,
}

/// Appends the run.
pub(crate) fn append(report: &CostReport, file: &Path) -> io::Result<()> {
    append_line(file, &Stamp::now().line(of_report(report)))
}

/// Appends one line in one write, so that it is whole or cut at its end.
pub(crate) fn append_line(file: &Path, line: &Value) -> io::Result<()> {
    let was_cut = fs::read(file).is_ok_and(|text| text.last().is_some_and(|&last| last != b'\n'));
    let end_of_cut = if was_cut { "\n" } else { "" };
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{end_of_cut}{line}\n").as_bytes())
}

impl Stamp {
    /// The present state of this tree.
    pub(crate) fn now() -> Self {
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
        let commit = git(&["rev-parse", "--short", "HEAD"]);
        Self { commit, changed: changed.map(|text| !text.is_empty()) }
    }

    /// A line with the present time.
    pub(crate) fn line(&self, members: Value) -> Value {
        let now = Timestamp::now();
        self.line_of(&now.round(Unit::Second).unwrap_or(now).to_string(), members)
    }

    fn line_of(&self, date: &str, members: Value) -> Value {
        let mut line = json!({"date": date, "commit": self.commit, "changed": self.changed});
        if let (Some(line), Value::Object(members)) = (line.as_object_mut(), members) {
            line.extend(members);
        }
        line
    }
}

/// The words about each figure are in the catalogue.
fn of_report(report: &CostReport) -> Value {
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

/// The output of git in the current folder, or in this workspace. `None` without git.
fn git(words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(words).stdin(Stdio::null()).stderr(Stdio::null());
    if Command::new("git").arg("rev-parse").output().is_ok_and(|output| !output.status.success()) {
        command.current_dir(sandbox::workspace().ok()?);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
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
        let line = stamp.line_of("2026-11-02T10:00:00Z", of_report(&report));
        assert_eq!(
            line.to_string(),
            concat!(
                r#"{"date":"2026-11-02T10:00:00Z","commit":"1a2b3c4","changed":true,"#,
                r#""subject":"","build":"gnu","repetitions":1,"#,
                r#""figures":{"idle.rss_kib":[432,428,436]}}"#
            )
        );
    }
}
