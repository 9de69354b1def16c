//! `size-report measure` runs every scenario and shows the figures. `check` also compares them with
//! the budgets of a file.

use std::io::{self, Write};

use serde_json::json;

use crate::args::{Check, Measure};
use crate::build::{self, ExtensionFile};
use crate::history::{self, Stamp};
use crate::report::CostReport;
use crate::scenario::{self, Plan};
use crate::{budgets, table};

/// Measures and prints. True: nothing required was missing.
pub(crate) fn main(args: &Measure) -> io::Result<bool> {
    let report = report(args, &build::extension(&args.extension)?)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report)?
    } else {
        table::measurements(&report)
    };
    writeln!(io::stdout(), "{text}")?;
    Ok(report.is_complete())
}

/// Measures, compares and prints. True: every budget is kept, and nothing required was missing.
pub(crate) fn check(args: &Check) -> io::Result<bool> {
    let file = match &args.budgets {
        Some(file) => file.clone(),
        None => sandbox::workspace()?.join("size-report/budgets.toml"),
    };
    let extension = &args.measure.extension;
    // This comes first, so that a mistake in the file does not cost a run.
    let wrong = |error: String| io::Error::other(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let budgets = budgets::parse(&text, &extension.build.name()).map_err(wrong)?;
    let report = report(&args.measure, &build::extension(extension)?)?;
    let rows = budgets::compare(&budgets, &report);
    let text = if args.measure.json {
        let mut document = json!(report);
        document["checks"] = json!(rows);
        format!("{document:#}")
    } else {
        table::checks(&report, &rows)
    };
    writeln!(io::stdout(), "{text}")?;
    Ok(report.is_complete() && rows.iter().all(|row| row.verdict.passes()))
}

/// Measures an extension, and appends its figures to the history if asked to.
pub(crate) fn report(args: &Measure, extension: &ExtensionFile) -> io::Result<CostReport> {
    let mut report = CostReport {
        subject: extension.title.clone(),
        build: args.extension.build.name(),
        repetitions: args.runs.repetitions,
        ..CostReport::default()
    };
    scenario::run_all(&Plan { args, extension }, &mut report)?;
    if let Some(file) = &args.runs.history {
        Stamp::now().append(file, &history::of_report(&report))?;
    }
    Ok(report)
}
