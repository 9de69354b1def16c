//! The arguments and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures what a Lambda extension costs, and holds it to a budget.
#[derive(Debug, Parser)]
#[command(
    name = "size-report",
    version,
    after_help = "Examples:\n  \
        size-report measure                              the agent of this workspace\n  \
        size-report measure --build layer --json\n  \
        size-report measure --extension ./my-extension --history sizes.jsonl\n  \
        size-report check --build layer\n  \
        size-report check --extension ./my-extension --budgets my-budgets.toml\n\n\
        Exit codes: 0 as expected; 1 over a budget, or something failed; 2 wrong arguments.\n\
        OOM_WITNESS_REQUIRE=all makes a skipped scenario a failure."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Measure, and compare each figure that has a budget with it.
    Check(Check),
    /// Measure: file, idle, after invocations, through out-of-memory kills, start.
    Measure(Measure),
}

/// What to measure, and what to do with the figures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Measure {
    /// An extension binary; without it the agent of this workspace is built.
    #[arg(long, value_name = "PATH")]
    pub(crate) extension: Option<PathBuf>,
    /// How the agent is built, and which budgets count.
    #[arg(long, value_enum, default_value_t = Build::Gnu)]
    pub(crate) build: Build,
    /// Invocations of the scenario `invocations`, each with telemetry.
    #[arg(long, default_value_t = 50, value_name = "N",
        value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) invocations: u32,
    /// Runs of each scenario: the median, the least and the most of them are kept.
    #[arg(long, default_value_t = 5, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repetitions: u32,
    /// The function's memory in the out-of-memory scenarios.
    #[arg(long, default_value_t = 128, value_name = "MB")]
    pub(crate) memory: u64,
    /// One JSON document on standard output in place of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Appends the run as one line of JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

/// The same, and the budgets.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) measure: Measure,
    /// Another file than `size-report/budgets.toml`.
    #[arg(long, value_name = "FILE")]
    pub(crate) budgets: Option<PathBuf>,
}

/// How the agent is built.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Build {
    /// `cargo build --release`: this machine's own C library, linked dynamically on most.
    Gnu,
    /// `cargo layer`: the file that ships, for this machine's processor.
    Layer,
    /// `cargo layer --emf-only`: without a network.
    LayerEmf,
}

impl Build {
    /// Its name on the command line and in budgets.toml.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Layer => "layer",
            Self::LayerEmf => "layer-emf",
        }
    }
}
