//! `size-report measure`: runs every scenario and shows the figures.

use std::io::{self, Write};

use crate::args::Measure;
use crate::build::{self, ExtensionFile};
use crate::history::{self, Stamp};
use crate::report::CostReport;
use crate::scenario::{self, Plan};
use crate::table;

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
