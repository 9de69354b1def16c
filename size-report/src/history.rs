//! The history: a file of one JSON line a run, for a chart or a comparison.
//!
//! ```json
//! {"date":"2026-11-02T10:00:00Z","commit":"1a2b3c4","changed":false,"subject":"oom-witness",
//!  "build":"layer","repetitions":5,"figures":{"idle.rss_kib":[432,428,436]}}
//! ```
//!
//! A figure is its median, least and most. The file is only ever appended to.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use crate::build::workspace;
use crate::json;
use crate::report::Report;

/// Appends the run.
pub(crate) fn append(report: &Report, file: &Path) -> io::Result<()> {
    let now = Timestamp::now();
    let date = now.round(Unit::Second).unwrap_or(now).to_string();
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let line = line(report, &date, commit.as_deref(), changed.map(|text| !text.is_empty()));
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{line}")
}

fn line(report: &Report, date: &str, commit: Option<&str>, changed: Option<bool>) -> Value {
    json!({
        "date": date,
        "commit": commit,
        "changed": changed,
        "subject": report.subject,
        "build": report.build,
        "repetitions": report.repetitions,
        "figures": json::figures(report),
    })
}

/// What git says of the current folder, or of this workspace; `None` without git.
fn git(words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(words).stdin(Stdio::null()).stderr(Stdio::null());
    if Command::new("git").arg("rev-parse").output().is_ok_and(|output| !output.status.success()) {
        command.current_dir(workspace()?);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{RSS, Scenario};

    #[test]
    fn a_line_has_date_commit_and_figures() {
        let mut report = Report { build: "gnu", repetitions: 1, ..Report::default() };
        report.add(Scenario::Idle, RSS, 432);
        let line = line(&report, "2026-11-02T10:00:00Z", Some("1a2b3c4"), Some(true));
        assert_eq!(
            line.to_string(),
            concat!(
                r#"{"date":"2026-11-02T10:00:00Z","commit":"1a2b3c4","changed":true,"#,
                r#""subject":"","build":"gnu","repetitions":1,"#,
                r#""figures":{"idle.rss_kib":[432,432,432]}}"#
            )
        );
    }
}
