//! The arguments and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::fault::ApiFault;
use crate::identity::InitializationType;
use crate::receiver::{KeySource, SinkChoice};
use crate::switches::Switches;
use crate::telemetry::LogFormat;

/// A local Lambda execution environment: a function and an extension in one real memory cgroup, in
/// which the real kernel kills.
#[derive(Debug, Parser)]
#[command(
    name = "sandbox",
    version,
    after_help = "Examples:\n  \
        sandbox                                        the main job, at 192 MB\n  \
        sandbox run python --memory 128                one function, one out-of-memory kill\n  \
        sandbox run builtin --workers 16 --invocations 3 --then-succeed\n  \
        sandbox run builtin --extension ./my-extension --behavior near-limit --mb 100\n  \
        sandbox record FILE node --scenario heap       a recording that can be replayed\n  \
        sandbox replay FILE                            why was this counted?\n  \
        sandbox replay tests/data/corpus               does it agree with the labels?\n  \
        sandbox corpus tests/data/corpus               the labelled corpus, again\n  \
        sandbox suite oom --once                       every runtime, every way to die\n\n\
        Exit codes: 0 as expected, 1 not, 2 wrong arguments, 3 no right to make a cgroup."
)]
pub(super) struct SandboxArgs {
    /// Without one, the agent is built and its main job is shown.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Log what the APIs were asked and what they answered, on standard error.
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run one function beside one extension.
    Run(Box<RunArgs>),
    /// Run, and record what the extension received in a file that can be replayed.
    Record(Box<RecordArgs>),
    /// Replay a telemetry capture (yours or ours) and show the verdict for each request. Replay
    /// several, and show how well the verdicts agree with the labels.
    Replay(ReplayArgs),
    /// Record the labelled corpus again.
    Corpus(CorpusArgs),
    /// Run the agent with every runtime and every way to die, and show one table.
    Suite(SuiteArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Behaviors of the built-in function: succeed, grow, worker-exit, \
    worker-survives, near-limit (--mb), crash (--code), abort, timeout, error.\n\
    Of python: succeed, kill, memoryerror, crash, abort, timeout, error.\n\n\
    Examples:\n  \
    sandbox run builtin --workers 16 --memory 128\n  \
    sandbox run builtin --behavior succeed --line 'hello' --invocations 3\n  \
    sandbox run python --behavior memoryerror --log-format json\n  \
    sandbox run builtin --sink datadog-https --invocations 2 --then-succeed\n  \
    sandbox run node --scenario heap --memory 192")]
pub(super) struct RunArgs {
    /// builtin, or the name of a folder in integration-tests/runtimes.
    pub(super) runtime: String,
    /// The function's memory in MB.
    #[arg(long, default_value_t = 128, value_name = "MB")]
    pub(super) memory: u64,
    /// Another extension than the agent of this workspace. `test` is the test extension.
    #[arg(long, value_name = "PATH")]
    pub(super) extension: Option<PathBuf>,
    /// How often the function is invoked in the same environment.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) invocations: u32,
    /// Only the first invocation does this. Those after it succeed.
    #[arg(long)]
    pub(super) then_succeed: bool,
    /// The invocations after the first do this instead.
    #[arg(long, value_name = "BEHAVIOR", conflicts_with = "then_succeed")]
    pub(super) then: Option<String>,
    /// Processes that grow together.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) workers: u32,
    /// What the function does.
    #[arg(long, default_value = "grow")]
    pub(super) behavior: String,
    /// A scenario of the runtime's scenarios.toml: its payload, variables and timeout.
    #[arg(long, value_name = "NAME", conflicts_with = "behavior")]
    pub(super) scenario: Option<String>,
    /// Managed Instances: this many invocations at once.
    #[arg(long, value_name = "N", conflicts_with = "retry")]
    pub(super) managed: Option<u32>,
    /// Invocations after the first are retries of the same event: the same request id.
    #[arg(long)]
    pub(super) retry: bool,
    /// Lines for the function's standard output. `{id}` becomes the request id.
    #[arg(long = "line", value_name = "TEXT")]
    pub(super) lines: Vec<String>,
    /// How often the function prints these lines.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) repeat: u32,
    /// One more extension: the test extension, which misbehaves as these words say, such as
    /// exit-on-invoke, exit-late or grow.
    #[arg(long, value_name = "WORDS")]
    pub(super) beside: Option<String>,
    /// Milliseconds that the built-in function waits first.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(super) pause: u64,
    /// MiB for near-limit.
    #[arg(long, default_value_t = 64)]
    pub(super) mb: usize,
    /// The exit code of crash.
    #[arg(long, default_value_t = 1)]
    pub(super) code: i32,
    /// The function's log format.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// The function's timeout in seconds. The default is the scenario's, or 30.
    #[arg(long, value_name = "S")]
    pub(super) timeout: Option<u64>,
    /// Where the agent sends: standard output, or a receiver that runs meanwhile.
    #[arg(long, value_enum, default_value_t = SinkChoice::Emf)]
    pub(super) sink: SinkChoice,
    /// Where the agent gets the key of datadog-https, otlp or otlp-https: a variable, or a
    /// service of AWS that runs meanwhile. Only datadog-https takes kms.
    #[arg(long, value_enum, default_value_t = KeySource::Variable, value_name = "SOURCE")]
    pub(super) key: KeySource,
    /// The receiver refuses connections until the first invocation has ended.
    #[arg(long, requires = "sink", conflicts_with = "managed")]
    pub(super) late_receiver: bool,
    /// The initialization type.
    #[arg(long, value_enum, default_value_t = InitializationType::OnDemand)]
    #[arg(conflicts_with = "managed")]
    pub(super) initialization: InitializationType,
    #[command(flatten)]
    pub(super) switches: Switches,
    /// Answer an API call with another status: CALL=STATUS or CALL=STATUS:TIMES. CALL is register,
    /// next, init-error, exit-error or subscribe. subscribe=202 is Telemetry.NotSupported.
    /// CALL=broken breaks the connection.
    #[arg(long = "fault", value_name = "CALL=STATUS")]
    pub(super) faults: Vec<ApiFault>,
    /// No cgroup: no limit, no kill and no freeze.
    #[arg(long)]
    pub(super) unlimited: bool,
    /// Variables for the extension, NAME=VALUE.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) variables: Vec<(String, String)>,
    /// Variables for the function, NAME=VALUE. With SANDBOX_INIT or SANDBOX_RESTORE set to grow or
    /// grow-once, the built-in function runs out of memory in its init or its restore.
    #[arg(long = "function-env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) function_variables: Vec<(String, String)>,
    /// Fail unless the extension counted this often.
    #[arg(long, value_name = "N")]
    pub(super) expect: Option<u32>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sandbox record heap.ndjson node --scenario heap --memory 128\n  \
    sandbox record kill.ndjson builtin --extension test --invocations 2 --then-succeed")]
pub(super) struct RecordArgs {
    /// The file to write.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// The truth about the first invocation, and about all with the same payload, if no scenario
    /// says it. An invocation whose function the kernel killed needs no label.
    #[arg(long, value_enum)]
    pub(super) label: Option<Label>,
    /// The truth about a failed init or restore that is an attempt of its own.
    #[arg(long, value_enum)]
    pub(super) init_label: Option<Label>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file is a recording of `sandbox record`, a JSON array of telemetry events, \
    or has one event (or one array of events) on each line, as your own extension may write them:\n  \
    {\"time\":\"2026-11-22T07:34:59.808Z\",\"type\":\"platform.report\",\"record\":{...}}\n\n\
    Given several files or a folder, it prints every verdict that differs from its label, every \
    count without a label, and precision and recall. It fails if more counts are wrong or missed \
    than --at-most-wrong and --at-most-missed allow.\n\n\
    Examples:\n  \
    sandbox replay tests/data/corpus/node-heap-128.ndjson\n  \
    sandbox replay capture.json --memory 512\n  \
    sandbox replay - --json < events.ndjson\n  \
    sandbox replay capture.json --env OOM_WITNESS_SUSPECTED=ignore --expect 1\n  \
    sandbox replay tests/data/corpus --at-most-wrong 46 --at-most-missed 2"
)]
pub(super) struct ReplayArgs {
    /// A capture (`-` is standard input), several captures, or a folder. A folder stands for its
    /// files that end with .ndjson, .jsonl or .json.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The function's memory in MB, if the capture does not say it.
    #[arg(long, value_name = "MB")]
    pub(super) memory: Option<u64>,
    /// Another extension than the agent of this workspace. `test` is the test extension.
    #[arg(long, value_name = "PATH")]
    pub(super) extension: Option<PathBuf>,
    /// No extension: score the verdicts in this file. Each line is one count, such as
    /// {"recording":"node-heap-128","requestId":"76e0...","confidence":"confirmed"}.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["extension", "variables", "expect"])]
    pub(super) verdicts: Option<PathBuf>,
    /// Variables for the extension, NAME=VALUE.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) variables: Vec<(String, String)>,
    /// One capture: fail unless it counted this often.
    #[arg(long, value_name = "N")]
    pub(super) expect: Option<u32>,
    #[command(flatten)]
    pub(super) allowed: AllowedDifferences,
    /// Everything as JSON on standard output.
    #[arg(long)]
    pub(super) json: bool,
}

/// How far several captures may differ from their labels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::Args)]
pub(super) struct AllowedDifferences {
    /// Several captures: at most this many counts may be wrong. [default: 0]
    #[arg(long = "at-most-wrong", value_name = "N", conflicts_with = "expect")]
    pub(super) wrong: Option<usize>,
    /// At most this many attempts that ran out of memory may have no count. [default: 0]
    #[arg(long = "at-most-missed", value_name = "N", conflicts_with = "expect")]
    pub(super) missed: Option<usize>,
    /// At most this many wrong counts may be confirmed. [default: all]
    #[arg(long = "at-most-wrongly-confirmed", value_name = "N", conflicts_with = "expect")]
    pub(super) wrongly_confirmed: Option<usize>,
    /// At most this many attempts that ran out of memory may have no confirmed count. [default:
    /// all]
    #[arg(long = "at-most-unconfirmed", value_name = "N", conflicts_with = "expect")]
    pub(super) unconfirmed: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sandbox suite oom --once\n  \
    sandbox suite lmi lifecycle --times 5\n  \
    sandbox suite oom --filter 'java heap'")]
pub(super) struct SuiteArgs {
    /// Which suites.
    #[arg(value_enum, required = true, value_name = "SUITE")]
    pub(super) names: Vec<SuiteName>,
    /// Run everything this often. No run is repeated after a failure.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) times: u32,
    /// Only runs with this in `RUNTIME NAME`, or `RUNTIME NAME json`.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(super) filter: String,
    /// The result table as Markdown in this file.
    #[arg(long, value_name = "FILE")]
    pub(super) table: Option<PathBuf>,
    /// Each scenario of a runtime only once: at its first memory size, as text.
    #[arg(long)]
    pub(super) once: bool,
    /// Another extension than the agent of this workspace.
    #[arg(long, value_name = "PATH")]
    pub(super) extension: Option<PathBuf>,
}

/// The suites.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum SuiteName {
    /// On demand, every runtime: out of memory, and everything that looks like it.
    Oom,
    /// Managed Instances: several invocations at once.
    Lmi,
    /// What Lambda does around an invocation that ends.
    Lifecycle,
    /// One kill, and one count at a real receiver of each sink.
    Sinks,
}

/// Whether an attempt ran out of memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Label {
    /// It did.
    Oom,
    /// It did not.
    NotOom,
    /// Nobody can say.
    Unknown,
}

impl Label {
    pub(super) fn truth(self) -> Option<bool> {
        match self {
            Self::Oom => Some(true),
            Self::NotOom => Some(false),
            Self::Unknown => None,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sandbox corpus tests/data/corpus\n  \
    sandbox corpus /tmp/corpus --filter java --extension test")]
pub(super) struct CorpusArgs {
    /// The folder to write to.
    pub(super) folder: PathBuf,
    /// Only the recordings with this in their name.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(super) filter: String,
    /// Only the recordings that have no file yet.
    #[arg(long)]
    pub(super) missing: bool,
    /// Another extension than the agent of this workspace. `test` is the test extension.
    #[arg(long, value_name = "PATH")]
    pub(super) extension: Option<PathBuf>,
}

/// `NAME=VALUE`
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.into(), value.into()))
}
