//! `size-report check`: measures, and compares the figures with the budgets of a file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::Check;
use crate::{budgets, build, measure, table};

/// Measures, compares and prints. True: every budget is kept, and nothing required was missing.
pub(crate) fn main(args: &Check) -> io::Result<bool> {
    let file = args.budgets.clone().unwrap_or_else(usual_file);
    let table_name = args.measure.extension.build.name();
    // This comes first, so that a mistake in the file does not cost a run.
    let wrong = |error: String| io::Error::other(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let budgets = budgets::parse(&text, &table_name).map_err(wrong)?;
    let extension = build::extension(&args.measure.extension)?;
    let report = measure::report(&args.measure, &extension)?;
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

/// This project's budgets: in the folder where this program was built, else in the current one.
fn usual_file() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.toml");
    if built.is_file() { built } else { "size-report/budgets.toml".into() }
}
