//! `size-report compare`: this tree beside a commit of it, or beside another file.
//!
//! In: a base. Out: a row for each figure with base and head, both measured now on this machine. A
//! commit is checked out into a folder under `target/` and built there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::args::Compare;
use crate::build::{self, Subject};
use crate::measure;
use crate::report::Report;
use crate::table;

/// True: nothing required was missing. A comparison judges nothing.
pub(crate) fn main(args: &Compare) -> io::Result<bool> {
    let head = build::subject(&args.measure.subject)?;
    let base = base(args)?;
    let base = measure::report_of(&args.measure, &base)?;
    let head = measure::report_of(&args.measure, &head)?;
    writeln!(io::stdout(), "{}", shown(&base, &head))?;
    Ok(base.is_complete() && head.is_complete())
}

fn base(args: &Compare) -> io::Result<Subject> {
    let path = Path::new(&args.base);
    if path.is_file() {
        return Ok(Subject::file(path.canonicalize()?, args.base.clone()));
    }
    let root = sandbox::workspace()?;
    let commit = git(&root, &["rev-parse", "--short", &format!("{}^{{commit}}", args.base)])?;
    let folder = checked_out(&root, &commit)?;
    let mut subject =
        build::agent(&folder, args.measure.subject.build, Some(&folder.join("target")))?;
    subject.words = format!("{} ({commit})", args.base);
    Ok(subject)
}

/// Checks a commit out into a folder, which a second comparison uses again.
fn checked_out(root: &Path, commit: &str) -> io::Result<PathBuf> {
    let folder = root.join("target/compare").join(commit);
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = folder.with_extension("part");
    std::fs::create_dir_all(&part)?;
    let mut archive = Command::new("git")
        .args(["archive", commit])
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()?;
    let Some(bytes) = archive.stdout.take() else { return Err(io::Error::other("no pipe")) };
    let unpacked = Command::new("tar").arg("-x").current_dir(&part).stdin(bytes).status()?;
    if !archive.wait()?.success() || !unpacked.success() {
        return Err(io::Error::other(format!("git archive {commit} | tar -x failed")));
    }
    std::fs::rename(&part, &folder)?;
    Ok(folder)
}

fn git(root: &Path, words: &[&str]) -> io::Result<String> {
    let output = Command::new("git").args(words).current_dir(root).output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("neither a file nor a commit: {}", why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn shown(base: &Report, head: &Report) -> String {
    let mut table = sandbox::table(&["figure", "base", "head", "difference", "%"]);
    for measurement in &head.measurements {
        let name = measurement.name();
        let unit = measurement.unit();
        let now = measurement.median();
        let Some(before) = base.get(&name).map(|before| before.median()) else { continue };
        let difference = now - before;
        let sign = if difference > 0 { "+" } else { "" };
        let share = if before == 0 { String::new() } else { percent(difference, before) };
        let difference = format!("{sign}{}", unit.show(difference));
        table.add_row([name, unit.show(before), unit.show(now), difference, share]);
    }
    table::numbers(&mut table, 1..=4);
    let (base, head) = (&base.subject, &head.subject);
    format!(
        "base: {base}\nhead: {head}\n{table}\nMedians, of runs one after the other on this machine."
    )
}

/// `+12.5`, in tenths.
fn percent(part: i64, whole: i64) -> String {
    let tenths = part * 1000 / whole;
    let sign = if tenths < 0 { "-" } else { "+" };
    format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CostScenario, FILE, RSS};

    #[test]
    fn a_row_has_base_head_and_difference() {
        let of = |file, rss| {
            let mut report = Report::default();
            report.add(CostScenario::Binary, FILE, file);
            report.add(CostScenario::Idle, RSS, rss);
            report
        };
        let text = shown(&of(1_000_000, 632), &of(1_250_000, 200));
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(row("binary.file_bytes").contains("+250,000"), "{text}");
        assert!(row("binary.file_bytes").contains("+25.0"), "{text}");
        assert!(row("idle.rss_kib").contains("-432 KiB") && row("idle.rss_kib").contains("-68.3"));
    }

    #[test]
    fn shares_have_a_sign() {
        assert_eq!([percent(5, 1000), percent(-5, 1000), percent(0, 7)], ["+0.5", "-0.5", "+0.0"]);
    }
}
