//! A report and a check as tables for a reader.

use comfy_table::{CellAlignment, Table};
use sandbox::table;

use crate::budgets::{Row, Verdict};
use crate::crates::Share;
use crate::figure::{CostScenario, Unit};
use crate::report::{Measurement, Report};

/// Every figure with what it is and how it was measured.
pub(crate) fn measurements(report: &Report) -> String {
    let mut table = table(&["figure", "median", "min", "max", "what it is"]);
    for measurement in &report.measurements {
        table.add_row(measurement_row(measurement));
    }
    numbers(&mut table, 1..=3);
    let Report { subject, build, repetitions, .. } = report;
    let mut text = format!("{subject} ({build}), {repetitions} runs of each scenario\n{table}\n");
    text.push_str("\nHow they were taken:\n");
    for &scenario in CostScenario::all() {
        let of = |measurement: &&Measurement| measurement.scenario == scenario;
        let mut of = report.measurements.iter().filter(of).peekable();
        if of.peek().is_none() {
            continue;
        }
        text.push_str(&format!("  {}: {}\n", scenario.name(), scenario.how()));
        for measurement in of {
            if let Some(how) = measurement.figure.how {
                text.push_str(&format!("    {}: {how}\n", measurement.figure.name));
            }
        }
    }
    text.push_str(&crates(&report.crates));
    text.push_str(&notes(report));
    text.push_str("\nWhat this table cannot tell:\n");
    for line in CANNOT_TELL {
        text.push_str(&format!("  - {line}\n"));
    }
    text.trim_end().to_string()
}

/// Every budget with what was measured.
pub(crate) fn checks(report: &Report, rows: &[Row]) -> String {
    let mut table = table(&["figure", "most measured", "budget", "margin", ""]);
    for row in rows {
        table.add_row(check_row(row));
    }
    numbers(&mut table, 1..=3);
    let Report { subject, build, repetitions, .. } = report;
    let mut text = format!("{subject} ({build}), {repetitions} runs of each scenario\n{table}\n");
    text.push_str(&notes(report));
    let over = rows.iter().filter(|row| !row.verdict.passes()).count();
    let skipped = rows.iter().filter(|row| matches!(row.verdict, Verdict::Skipped(_))).count();
    let kept = rows.len() - over - skipped;
    text.push_str(&format!("\n{kept} of {} budgets kept", rows.len()));
    if skipped > 0 {
        text.push_str(&format!(", {skipped} skipped"));
    }
    if over > 0 {
        text.push_str(&format!(", {over} not"));
    }
    text.push_str(
        ".\nTimes are not compared; `size-report measure` says how each figure is taken.",
    );
    text
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

fn check_row(row: &Row) -> [String; 5] {
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
fn crates(shares: &[Share]) -> String {
    if shares.is_empty() {
        return String::new();
    }
    let mut table = table(&["crate", "code", "constants", "variables", "all"]);
    let show = |value: u64| Unit::Bytes.show(i64::try_from(value).unwrap_or(i64::MAX));
    for share in shares {
        let numbers = [share.code, share.constants, share.variables, share.total()].map(show);
        table.add_row(std::iter::once(share.name.clone()).chain(numbers));
    }
    numbers(&mut table, 1..=4);
    format!("\nOf the file, in bytes, by the linker's map:\n{table}\n")
}

/// What was skipped, and remarks.
fn notes(report: &Report) -> String {
    let mut text = String::new();
    let mut skipped = report.skipped.as_slice();
    while let Some(first) = skipped.first() {
        // Scenarios in a row with the same reason share one line.
        let same = skipped.iter().take_while(|other| other.reason == first.reason).count();
        let (these, rest) = skipped.split_at(same);
        let names: Vec<_> = these.iter().map(|skipped| skipped.scenario.name()).collect();
        text.push_str(&format!("\nSkipped {}: {}\n", names.join(", "), first.reason));
        skipped = rest;
    }
    if !report.remarks.is_empty() {
        text.push_str("\nRemarks:\n");
        for remark in &report.remarks {
            text.push_str(&format!("  {remark}\n"));
        }
    }
    text
}

pub(crate) fn numbers(table: &mut Table, columns: std::ops::RangeInclusive<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The last lines of every table of figures.
const CANNOT_TELL: [&str; 9] = [
    "RSS counts file pages that the kernel maps around each one touched: the same file on another \
     kernel or file system shows another figure. RssAnon is the extension's alone.",
    "It also depends on the pieces in which the file lies in the page cache. The file was dropped \
     from there before the first run, which has no effect while another process runs it.",
    "A program that is loaded at a random address touches other windows in each run: its RSS \
     spreads by a tenth and more. Min and max of a few runs are not its bounds.",
    "Linux 6.2 to 6.15 add up RSS per processor: VmRSS and VmHWM may be off by some 32 pages for \
     each there. PSS and growth_kib are counted page by page.",
    "On Lambda's own kernel and virtual machines figures may differ; nothing here ran on AWS.",
    "A reading is of one moment. VmHWM holds what lies between two, RssAnon does not.",
    "What a process touches between its last reading and its end: unseen_us says how long it was.",
    "Memory that the kernel holds for it outside of its pages: sockets, pipes, the files' cache.",
    "Times are those of this machine under its present load: compare them within one run only.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budgets::Budgets;
    use crate::figure::{FILE, NEXT, RSS};

    fn report() -> Report {
        let mut report = Report { subject: "x".into(), build: "musl", ..Report::default() };
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
    fn a_row_has_its_units() {
        let report = report();
        let rows: Vec<_> = report.measurements.iter().map(measurement_row).collect();
        assert_eq!(rows[0][..2], ["binary.file_bytes", "1,234,567"]);
        assert_eq!(rows[1][..2], ["start.next_us", "2.34 ms"]);
        assert_eq!(rows[2][..2], ["idle.rss_kib", "432 KiB"]);
    }

    #[test]
    fn a_table_says_how_and_what_it_cannot_tell() {
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
    fn a_check_shows_margin_and_verdict() {
        let text = "[musl]\nidle.rss_kib = 400\nbinary.file_bytes = 2_000_000\noom_emf.x_kib = 1";
        let rows = Budgets::parse(text, "musl").expect("budgets").compare(&report());
        let rows: Vec<_> = rows.iter().map(check_row).collect();
        assert_eq!(rows[0][1..], ["1,234,567", "2,000,000", "765,433", "OK"]);
        assert_eq!(rows[1][1..], ["432 KiB", "400 KiB", "-32 KiB", "OVER"]);
        assert_eq!(rows[2][1..], ["-", "1 KiB", "-", "SKIPPED"]);
        let rows = Budgets::parse(text, "musl").expect("budgets").compare(&report());
        assert!(checks(&report(), &rows).contains("1 of 3 budgets kept, 1 skipped, 1 not."));
    }
}
