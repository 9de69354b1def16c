//! `size-report compare`: this tree beside a commit of it, or beside another file.
//!
//! In: the base, a commit or a file. Out: a row for each figure with base and head, both measured
//! now on this machine. A commit is checked out into a folder under `target/` and built there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Compare;
use crate::build::{self, ExtensionFile};
use crate::history::git;
use crate::measure;
use crate::report::CostReport;
use crate::table::table;

/// Measures both and prints. True: nothing required was missing. No difference is a failure.
pub(crate) fn main(args: &Compare) -> io::Result<bool> {
    let head = build::extension(&args.measure.extension)?;
    let base = base(args)?;
    let base = measure::report(&args.measure, &base)?;
    let head = measure::report(&args.measure, &head)?;
    writeln!(io::stdout(), "{}", compared(&base, &head))?;
    Ok(base.is_complete() && head.is_complete())
}

fn base(args: &Compare) -> io::Result<ExtensionFile> {
    let path = Path::new(&args.base);
    if path.is_file() {
        return Ok(ExtensionFile::new(path.canonicalize()?, args.base.clone()));
    }
    let root = sandbox::workspace()?;
    let commit = git(&root, &["rev-parse", "--short", &format!("{}^{{commit}}", args.base)])
        .map_err(|error| io::Error::other(format!("neither a file nor a commit: {error}")))?;
    let folder = check_out(&root, &commit)?;
    let target = folder.join("target");
    let extension = build::agent(&folder, args.measure.extension.build, Some(&target))?;
    Ok(ExtensionFile { title: format!("{} ({commit})", args.base), ..extension })
}

/// Checks a commit out into a folder, which a second comparison uses again.
fn check_out(root: &Path, commit: &str) -> io::Result<PathBuf> {
    let folder = root.join("target/compare").join(commit);
    if !folder.is_dir() {
        let part = folder.with_extension("part");
        std::fs::create_dir_all(&part)?;
        let mut unpack = Command::new("sh");
        unpack.args(["-c", "git archive \"$0\" | tar -x -C \"$1\"", commit]).arg(&part);
        if !unpack.current_dir(root).status()?.success() {
            return Err(io::Error::other(format!("git archive {commit} | tar -x failed")));
        }
        std::fs::rename(&part, &folder)?;
    }
    Ok(folder)
}

fn compared(base: &CostReport, head: &CostReport) -> String {
    let rows = head.measurements.iter().filter_map(|measurement| {
        let before = base.get(measurement.scenario, measurement.figure.name)?.median();
        let (unit, now) = (measurement.unit(), measurement.median());
        let difference = now - before;
        let sign = if difference > 0 { "+" } else { "" };
        let share = if before == 0 { String::new() } else { percent(difference, before) };
        let difference = format!("{sign}{}", unit.show(difference));
        Some([measurement.name(), unit.show(before), unit.show(now), difference, share])
    });
    let table = table(&["figure", "base", "head", "difference", "%"], 1..=4, rows);
    let (base, head) = (&base.subject, &head.subject);
    format!(
        "base: {base}\nhead: {head}\n{table}\nMedians of runs one after the other on this machine."
    )
}

/// The percentage with a sign and one decimal: `+12.5`.
fn percent(part: i64, whole: i64) -> String {
    let tenths = part * 1000 / whole;
    format!("{:+.1}", tenths as f64 / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CostScenario, FILE, RSS};

    #[test]
    fn a_row_has_base_head_and_difference() {
        let of = |file, rss| {
            let mut report = CostReport::default();
            report.add(CostScenario::Binary, FILE, file);
            report.add(CostScenario::Idle, RSS, rss);
            report
        };
        let text = compared(&of(1_000_000, 632), &of(1_250_000, 200));
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(row("binary.file_bytes").contains("+250,000"), "{text}");
        assert!(row("binary.file_bytes").contains("+25.0"), "{text}");
        assert!(row("idle.rss_kib").contains("-432 KiB") && row("idle.rss_kib").contains("-68.3"));
    }

    #[test]
    fn a_percentage_has_a_sign() {
        assert_eq!([percent(5, 1000), percent(-5, 1000), percent(0, 7)], ["+0.5", "-0.5", "+0.0"]);
    }
}
