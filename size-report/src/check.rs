//! `size-report check`: measures, and compares with the budgets of a file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::args::Check;
use crate::budgets::Budgets;
use crate::{json, measure, table};

/// True: every budget is kept, and nothing required was missing.
pub(crate) fn main(args: &Check) -> io::Result<bool> {
    let file = args.budgets.clone().unwrap_or_else(usual_file);
    let build = args.measure.subject.build.name();
    // Read before the run, which a mistake in it should not cost.
    let wrong = |error: String| io::Error::other(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let budgets = Budgets::parse(&text, build).map_err(wrong)?;
    let report = measure::report(&args.measure)?;
    let rows = budgets.compare(&report);
    let text = if args.measure.json {
        format!("{:#}", json::checked(&report, &rows))
    } else {
        table::checks(&report, &rows)
    };
    writeln!(io::stdout(), "{text}")?;
    Ok(report.is_complete() && rows.iter().all(|row| row.verdict.passes()))
}

/// This project's own budgets: where this was built, else in the current folder.
fn usual_file() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.toml");
    if built.is_file() { built } else { "size-report/budgets.toml".into() }
}
