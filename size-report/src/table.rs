//! A report and a check as tables, with notes on how far the figures can be trusted.

use std::ops::RangeInclusive;

use comfy_table::{CellAlignment, Row, Table};

use crate::budgets::{BudgetRow, Verdict};
use crate::crates::CrateBytes;
use crate::figure::{Figure, Unit};
use crate::report::{CostReport, Measurement};

/// Every figure with what it is and how it was measured.
pub(crate) fn measurements(report: &CostReport) -> String {
    let header = ["figure", "median", "min", "max", "what it is"];
    let table = table(&header, 1..=3, report.measurements.iter().map(measurement_row));
    let mut text = headed(report, &table);
    text.push_str("\nHow they were taken:\n");
    for same in report.measurements.chunk_by(|one, next| one.scenario == next.scenario) {
        let scenario = same[0].scenario;
        text.push_str(&format!("  {}: {}\n", scenario.name(), scenario.how()));
        for Figure { name, how, .. } in same.iter().map(|measurement| measurement.figure) {
            text.push_str(&how.map_or_else(String::new, |how| format!("    {name}: {how}\n")));
        }
    }
    text.push_str(&crates(&report.crates));
    text.push_str(&notes(report));
    text.push_str(CANNOT_TELL);
    text
}

/// Every budget with what was measured.
pub(crate) fn checks(report: &CostReport, rows: &[BudgetRow]) -> String {
    let header = ["figure", "most measured", "budget", "margin", ""];
    let table = table(&header, 1..=3, rows.iter().map(check_row));
    let mut text = headed(report, &table) + &notes(report);
    let over = rows.iter().filter(|row| !row.verdict.passes()).count();
    let skipped = rows.iter().filter(|row| row.verdict == Verdict::Skipped).count();
    let kept = rows.len() - over - skipped;
    text.push_str(&format!("\n{kept} of {} budgets kept", rows.len()));
    for (count, word) in [(skipped, "skipped"), (over, "not")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text.push_str(".\nTimes have no budget. `size-report measure` says how each figure is taken.");
    text
}

fn headed(report: &CostReport, table: &Table) -> String {
    let CostReport { subject, build, repetitions, .. } = report;
    format!("{subject} ({build}), {repetitions} runs of each scenario\n{table}\n")
}

fn measurement_row(measurement: &Measurement) -> [String; 5] {
    let show = |value| measurement.unit().show(value);
    [
        measurement.name(),
        show(measurement.median()),
        show(measurement.min()),
        show(measurement.max()),
        measurement.figure.what.to_string(),
    ]
}

fn check_row(row: &BudgetRow) -> [String; 5] {
    let show = |value: i64| row.unit.show(value);
    [
        row.name.clone(),
        row.measured.map_or("-".into(), show),
        show(row.budget),
        row.margin().map_or("-".into(), show),
        row.verdict.word().to_string(),
    ]
}

/// The bytes of the file by crate.
fn crates(shares: &[CrateBytes]) -> String {
    if shares.is_empty() {
        return String::new();
    }
    let show = |value: u64| Unit::Bytes.show(i64::try_from(value).unwrap_or(i64::MAX));
    let rows = shares.iter().map(|share| {
        let [code, constants, variables, all] =
            [share.code, share.constants, share.variables, share.total()].map(show);
        [share.name.clone(), code, constants, variables, all]
    });
    let table = table(&["crate", "code", "constants", "variables", "all"], 1..=4, rows);
    format!("\nBytes of the file by crate, from the linker's map:\n{table}\n")
}

/// Skipped scenarios, and remarks.
fn notes(report: &CostReport) -> String {
    let mut text = String::new();
    // Neighbours with the same reason share one line.
    for same in report.skipped.chunk_by(|one, next| one.reason == next.reason) {
        let names: Vec<_> = same.iter().map(|skipped| skipped.scenario.name()).collect();
        text.push_str(&format!("\nSkipped {}: {}\n", names.join(", "), same[0].reason));
    }
    if !report.remarks.is_empty() {
        text.push_str(&format!("\nRemarks:\n  {}\n", report.remarks.join("\n  ")));
    }
    text
}

/// A table. Its columns of numbers are aligned to the right.
pub(crate) fn table<R: Into<Row>>(
    header: &[&str],
    numbers: RangeInclusive<usize>,
    rows: impl IntoIterator<Item = R>,
) -> Table {
    let mut table = sandbox::table(header);
    table.add_rows(rows);
    let (before, count) = (*numbers.start(), numbers.count());
    for column in table.column_iter_mut().skip(before).take(count) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The last lines of every table of figures.
const CANNOT_TELL: &str = "
What this table cannot tell:
  - RSS counts file pages that the kernel maps around each one touched. The same file on another
    kernel or file system has another RSS. RssAnon is only the extension's.
  - RSS also depends on the pieces in which the page cache holds the file. The file was dropped
    from the cache before the first run. That has no effect while another process runs it.
  - A program that is loaded at a random address touches other windows in each run. Its RSS
    varies by a tenth and more, and a few runs do not show its bounds.
  - Linux 6.2 to 6.15 add up RSS per processor, so VmRSS and VmHWM may be off by some 32 pages for
    each. PSS and growth_kib are counted page by page.
  - Nothing ran on AWS. On Lambda's kernel and virtual machines the figures may differ.
  - A reading is of one moment. VmHWM covers the time between two readings, RssAnon does not.
  - No reading shows what a process touches in its last moments. unseen_us says how long they were.
  - The kernel holds memory for a process outside of its pages: sockets, pipes, the files' cache.
  - Times are of this machine under its present load. Compare them only within one run.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budgets::{compare, parse};
    use crate::figure::{CostScenario, FILE, NEXT, RSS};

    fn report() -> CostReport {
        let mut report =
            CostReport { subject: "x".into(), build: "musl".into(), ..CostReport::default() };
        report.add(CostScenario::Binary, FILE, 1_234_567);
        report.add(CostScenario::Start, NEXT, 2_340);
        report.add(CostScenario::Idle, RSS, 432);
        report.skip(CostScenario::OomEmf, "no right", true);
        report.skip(CostScenario::OomTls, "no right", true);
        report.skip(CostScenario::Child, "none", false);
        report.remark("a remark");
        report
    }

    #[test]
    fn a_row_has_units() {
        let report = report();
        let rows: Vec<_> = report.measurements.iter().map(measurement_row).collect();
        assert_eq!(rows[0][..2], ["binary.file_bytes", "1,234,567"]);
        assert_eq!(rows[1][..2], ["start.next_us", "2.34 ms"]);
        assert_eq!(rows[2][..2], ["idle.rss_kib", "432 KiB"]);
    }

    #[test]
    fn a_table_tells_how_figures_were_taken_and_what_they_cannot_tell() {
        let text = measurements(&report());
        for part in [
            "432 KiB",
            "no cgroup, no limit",
            "start: the sandbox's clock",
            "Skipped oom_emf, oom_tls: no right",
            "Skipped child: none",
            "a remark",
            "cannot tell",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_check_has_margins_and_verdicts() {
        let text = "[musl]\nidle.rss_kib = 400\nbinary.file_bytes = 2_000_000\noom_emf.x_kib = 1";
        let rows = compare(&parse(text, "musl").expect("budgets"), &report());
        let rows: Vec<_> = rows.iter().map(check_row).collect();
        assert_eq!(rows[0][1..], ["1,234,567", "2,000,000", "765,433", "OK"]);
        assert_eq!(rows[1][1..], ["432 KiB", "400 KiB", "-32 KiB", "OVER"]);
        assert_eq!(rows[2][1..], ["-", "1 KiB", "-", "SKIPPED"]);
        let rows = compare(&parse(text, "musl").expect("budgets"), &report());
        assert!(checks(&report(), &rows).contains("1 of 3 budgets kept, 1 skipped, 1 not."));
    }
}
