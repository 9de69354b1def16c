//! What AWS keeps secret, or does in more than one way: one switch each, with its source.
//!
//! Defaults are the likeliest behaviour of production Lambda. "RIE" is AWS's own open
//! `aws-lambda-runtime-interface-emulator`.

use std::time::Duration;

/// Every switch of an environment.
#[derive(Clone, Debug)]
pub struct Switches {
    /// What `maxMemoryUsedMB` says after an out-of-memory kill.
    pub memory_after_kill: MemoryAfterKill,
    /// When the report of an invocation that ended the runtime reaches the extension.
    pub late_report: LateReport,
    /// How the `runtimeDone` of such an invocation reaches it.
    pub runtime_done: RuntimeDone,
    /// When telemetry that waits is posted in a shutdown.
    pub shutdown_flush: ShutdownFlush,
    /// Shutdown reasons in capitals, as the documentation writes them; RIE and third parties have
    /// seen lower case.
    pub capital_reasons: bool,
    /// A record made of an output line keeps its `\n`: seen from managed runtimes, not in RIE.
    pub trailing_newline: bool,
    /// `<`, `>` and `&` as `\u003c`: Go's `encoding/json`, seen in RIE, unknown in production.
    pub html_escape: bool,
    /// A telemetry request that is not answered with 2xx comes again (AWS). False: one
    /// `platform.logsDropped` instead (RIE).
    pub resend: bool,
    /// Every telemetry request is sent twice: delivery is at least once (AWS).
    pub duplicate: bool,
    /// Records are cut inside at this size instead of at `maxBytes`, so that a cut fits on a
    /// screen: `maxBytes` is at least 262,144.
    pub cut_at: Option<usize>,
    /// The environment makes events of its own. False: it tells only what it is given to post.
    pub own_telemetry: bool,
    /// Freeze the environment between invocations (AWS).
    pub freeze: bool,
    /// How long extensions have in SHUTDOWN: 2,000 ms with an external one (AWS).
    pub shutdown_limit: Duration,
    /// What is left of it when SHUTDOWN reaches them, whatever the runtime took. A runtime that
    /// ignored SIGTERM left 398 ms (seen in RIE).
    pub shutdown_left: Option<Duration>,
    /// Whether the init after a reset is told before or after the `platform.start` that it is for.
    pub suppressed_init: SuppressedInit,
    /// The machine's page cache is dropped before each init, so that the environment pays for the
    /// pages of its own code (DataDog/datadog-lambda-extension 1237). It needs root, and costs
    /// everybody on the machine a moment.
    pub cold: bool,
    /// How long an on-demand init may take: 10 s (AWS).
    pub init_limit: Duration,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            memory_after_kill: MemoryAfterKill::Below(1),
            late_report: LateReport::AfterRestart,
            runtime_done: RuntimeDone::BeforeShutdown,
            shutdown_flush: ShutdownFlush::Usual,
            capital_reasons: false,
            trailing_newline: true,
            html_escape: false,
            resend: true,
            duplicate: false,
            cut_at: None,
            own_telemetry: true,
            freeze: true,
            shutdown_limit: Duration::from_millis(2000),
            shutdown_left: None,
            suppressed_init: SuppressedInit::BeforeStart,
            cold: false,
            init_limit: Duration::from_secs(10),
        }
    }
}

/// What `maxMemoryUsedMB` says after a kill. Otherwise it is the peak of the cgroup, at most the
/// limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemoryAfterKill {
    /// This much below the limit: 1023/1024 and 3007/3008 are public samples, 125/128 too.
    Below(u64),
    /// The limit: 512/512 and 5120/5120 are public samples.
    Equal,
    /// The peak of the cgroup; page cache makes it the limit almost always.
    Peak,
}

impl MemoryAfterKill {
    /// The figure.
    #[must_use]
    pub fn figure(self, peak_mb: u64, limit_mb: u64) -> u64 {
        match self {
            Self::Below(mb) => limit_mb.saturating_sub(mb),
            Self::Equal => limit_mb,
            Self::Peak => peak_mb.min(limit_mb),
        }
    }
}

/// When the `platform.report` of an invocation that ended the runtime is delivered.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum LateReport {
    /// To the new extension process, before the next `platform.start` (Datadog, issues 692, 776).
    AfterRestart,
    /// To the new extension process, after the next `platform.start`: the order is not known.
    AfterStart,
    /// To the old process, before its SHUTDOWN event.
    BeforeShutdown,
    /// To nobody.
    Never,
}

/// When telemetry that waits is posted in a shutdown.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutdownFlush {
    /// Beside SHUTDOWN after a failure, before it where the environment is not needed any more: it
    /// was idle for minutes then, and what waited for 25 ms is at the listener.
    Usual,
    /// While SHUTDOWN goes out: Elastic's extension sees it 5 ms after SHUTDOWN (issues 334, 347).
    Beside,
    /// Before SHUTDOWN goes out.
    Before,
}

/// Where `platform.initStart` with phase `invoke` comes. AWS says only that such an init is part of
/// the invocation.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum SuppressedInit {
    /// Before the `platform.start` of the invocation that it is part of: the order in RIE.
    BeforeStart,
    /// After it: the runtime restarts within the invocation that has begun.
    AfterStart,
}

/// How the `platform.runtimeDone` of such an invocation is delivered.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum RuntimeDone {
    /// Posted before SHUTDOWN: the order in RIE.
    BeforeShutdown,
    /// Posted while SHUTDOWN goes out: either may be seen first.
    Beside,
    /// Lost (elastic/apm-aws-lambda 412).
    Lost,
}
