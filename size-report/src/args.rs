//! The arguments and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures what a Lambda extension costs, and fails above a budget.
#[derive(Debug, Parser)]
#[command(
    name = "size-report",
    version,
    after_help = "Examples:\n  \
        size-report measure                              the agent of this workspace\n  \
        size-report measure --build layer --json\n  \
        size-report measure --extension ./my-extension --history sizes.jsonl\n  \
        size-report check --build layer\n  \
        size-report compare HEAD~1 --build layer         this tree and its parent commit\n  \
        size-report pages --build layer                  which pages are resident, and what lies on them\n  \
        size-report peers --history peers.jsonl          the agent and other extensions\n  \
        size-report chart peers.jsonl --output peers.svg\n  \
        size-report survival --build layer --history survival.jsonl\n  \
        size-report check --extension ./my-extension --budgets my-budgets.toml\n\n\
        Exit codes: 0 as expected; 1 over a budget, or something failed; 2 wrong arguments.\n\
        OOM_WITNESS_REQUIRE=all makes a skipped scenario a failure."
)]
pub(crate) struct SizeReportArgs {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Log what the sandbox's APIs were asked and what they answered, on standard error.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Measure, and fail if a figure is above its budget.
    Check(Check),
    /// Draw a history as an SVG: memory from `measure` or `peers`, survivors from `survival`.
    Chart(Chart),
    /// Measure this tree and a commit of it, or another file, and show the differences.
    Compare(Compare),
    /// Show each resident page of an extension or its child, and what lies on it.
    Pages(Pages),
    /// Measure the agent beside small extensions of other kinds.
    Peers(RunArgs),
    /// Let functions run out of memory many times, and count who survives and what is reported.
    Survival(Survival),
    /// Measure the file, the start, the memory at rest, after invocations and during kills.
    Measure(Measure),
}

/// Which extension is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExtensionArgs {
    /// An extension binary. The default is the agent of this workspace, freshly built.
    #[arg(long = "extension", value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// How the agent is built, and which table of budgets counts.
    #[arg(long, value_enum, default_value_t = Build::Gnu)]
    pub(crate) build: Build,
    /// The linker's map of the extension. `cargo layer` writes the one of the layer.
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
}

/// What to draw.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Chart {
    /// A history, as `--history` writes it.
    pub(crate) history: PathBuf,
    /// Where the SVG goes.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// What is compared.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Compare {
    /// A commit, or an extension binary.
    pub(crate) base: String,
    #[command(flatten)]
    pub(crate) measure: Measure,
}

/// Which process, and when.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Pages {
    #[command(flatten)]
    pub(crate) extension: ExtensionArgs,
    /// Show it at rest after this many invocations, each with telemetry.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) invocations: u32,
    /// Show it while it sends a metric to every sink.
    #[arg(long, conflicts_with = "child")]
    pub(crate) counted: bool,
    /// Show the agent's child, which has sent its request over TLS and waits for the answer.
    #[arg(long)]
    pub(crate) child: bool,
}

/// How often each scenario runs, and where the figures are kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Runs of each scenario. The report has their median, least and most.
    #[arg(long, default_value_t = 5, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repetitions: u32,
    /// Append the figures of each extension as one line of JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

/// The matrix of kills.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Survival {
    #[command(flatten)]
    pub(crate) extension: ExtensionArgs,
    /// Runs of each cell: a function, a memory size and a number of workers. 28 make 1,008 kills.
    #[arg(long, default_value_t = 28, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Memory sizes in MB.
    #[arg(long, value_delimiter = ',', default_value = "128,192,256", value_name = "MB,...")]
    pub(crate) memory: Vec<u64>,
    /// Numbers of processes that allocate memory together.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64", value_name = "N,...")]
    pub(crate) workers: Vec<u32>,
    /// After each kill, run an invocation that succeeds. The count must stay one.
    #[arg(long)]
    pub(crate) then_succeed: bool,
    /// `builtin`, or the names of folders in integration-tests/runtimes.
    #[arg(long, value_delimiter = ',', default_value = "builtin,python,node")]
    pub(crate) functions: Vec<String>,
    /// Run the same with other extensions. `crate` is the smallest one on AWS's lambda-extension
    /// crate (2.7 MB). A number is the sandbox's test extension with that many MB resident, 4.5 or
    /// more.
    #[arg(long, value_delimiter = ',', value_parser = beside, default_value = "crate,10,30",
        value_name = "NAME|MB,...")]
    pub(crate) beside: Vec<Beside>,
    /// Runs of each cell with those. 0 leaves them out.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) beside_runs: u32,
    /// Append each cell as one line of JSON when it ends. A cell that the file already has, with
    /// the same extension and as many runs, does not run again. So an interrupted run goes on.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Show a row for each cell, also if nothing went wrong.
    #[arg(long)]
    pub(crate) each: bool,
}

/// Another extension in the matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Beside {
    /// The peer on AWS's crate.
    Crate,
    /// The test extension with this many MB resident.
    Resident(f64),
}

fn beside(text: &str) -> Result<Beside, &'static str> {
    if text == "crate" {
        return Ok(Beside::Crate);
    }
    let mb = text.parse().ok().filter(|mb| (0.1..10_000.0).contains(mb));
    mb.map(Beside::Resident).ok_or("neither `crate` nor a number of MB")
}

/// What to measure, and what to do with the figures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Measure {
    #[command(flatten)]
    pub(crate) extension: ExtensionArgs,
    /// Invocations of the scenario `invocations`, each with telemetry.
    #[arg(long, default_value_t = 50, value_name = "N",
        value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) invocations: u32,
    /// The function's memory in the out-of-memory scenarios.
    #[arg(long, default_value_t = 128, value_name = "MB")]
    pub(crate) memory: u64,
    /// Write one JSON document to standard output instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) runs: RunArgs,
}

/// What to measure, and its budgets.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) measure: Measure,
    /// The budgets. The default is `size-report/budgets.toml`.
    #[arg(long, value_name = "FILE")]
    pub(crate) budgets: Option<PathBuf>,
}

/// How the agent is built.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Build {
    /// `cargo build --release`: with this machine's C library, mostly linked dynamically.
    Gnu,
    /// `cargo layer`: the file that ships, for this machine's processor.
    Layer,
    /// `cargo layer` for arm64. On another machine only its file is measured.
    LayerArm64,
    /// `cargo layer --emf-only`: without a network.
    LayerEmf,
}

impl Build {
    /// Its name on the command line and in budgets.toml.
    pub(crate) fn name(self) -> String {
        value_name(&self)
    }
}

/// The name of a value, as it is written on the command line.
pub(crate) fn value_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
}
