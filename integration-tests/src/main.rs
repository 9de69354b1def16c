//! The binary `sandbox`: hidden subcommands first, then the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::run_if_asked().unwrap_or_else(sandbox::cli::main)
}
