//! `size-report measure`: runs every scenario and shows the figures.

use std::io::{self, Write};

use crate::args::Measure;
use crate::build::{self, Subject};
use crate::progress::Progress;
use crate::report::Report;
use crate::scenario::{self, Plan};
use crate::{history, json, table};

/// Measures and prints. True: nothing required was missing.
pub(crate) fn main(args: &Measure) -> io::Result<bool> {
    let report = report(args)?;
    let text = if args.json {
        format!("{:#}", json::document(&report))
    } else {
        table::measurements(&report)
    };
    writeln!(io::stdout(), "{text}")?;
    Ok(report.is_complete())
}

/// Measures, and appends to the history if asked to.
pub(crate) fn report(args: &Measure) -> io::Result<Report> {
    report_as(args, None)
}

/// The same under another name.
pub(crate) fn report_as(args: &Measure, name: Option<&str>) -> io::Result<Report> {
    let mut subject = build::subject(&args.subject)?;
    if let Some(name) = name {
        subject.words = name.into();
    }
    report_of(args, &subject)
}

/// Measures what is built already.
pub(crate) fn report_of(args: &Measure, subject: &Subject) -> io::Result<Report> {
    let progress = Progress::new(Plan::steps(args));
    let mut report = Report {
        subject: subject.words.clone(),
        build: args.subject.build.name(),
        repetitions: args.repetitions,
        ..Report::default()
    };
    let measured = run(args, subject, &progress, &mut report);
    progress.ends();
    measured?;
    if let Some(file) = &args.history {
        history::append(&report, file)?;
    }
    Ok(report)
}

fn run(
    args: &Measure,
    subject: &Subject,
    progress: &Progress,
    report: &mut Report,
) -> io::Result<()> {
    scenario::run_all(&Plan { args, subject, progress }, report)
}
