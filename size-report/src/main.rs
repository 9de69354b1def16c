//! `size-report`: what a Lambda extension costs, in bytes, pages and milliseconds.
//!
//! In: an extension binary, or the agent of this workspace if none is named. Out: a table, JSON, a
//! line of history, or the comparison with a budget. It runs everything in the sandbox and never
//! changes the extension. No time has a budget.

mod args;
mod binary;
mod budgets;
mod build;
mod chart;
mod compare;
mod crates;
mod figure;
mod history;
mod measure;
mod pages;
mod peers;
mod process;
mod report;
mod scenario;
mod survival;
mod svg;
mod table;
mod watcher;

use std::process::ExitCode;

use clap::Parser;

use args::{SizeReportArgs, Verb};

fn main() -> ExitCode {
    // The sandbox starts functions and enters cgroups through hidden subcommands of this binary.
    if let Some(code) = sandbox::run_if_asked() {
        return code;
    }
    let args = SizeReportArgs::parse();
    sandbox::log_to_stderr(args.verbose);
    sandbox::clean_at_the_end();
    let passed = match &args.verb {
        Verb::Chart(chart) => chart::main(chart),
        Verb::Check(check) => measure::check(check),
        Verb::Compare(compare) => compare::main(compare),
        Verb::Measure(measure) => measure::main(measure),
        Verb::Pages(pages) => pages::main(pages),
        Verb::Peers(peers) => peers::main(peers),
        Verb::Survival(survival) => survival::main(survival),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("size-report: {error}");
            ExitCode::FAILURE
        }
    }
}
