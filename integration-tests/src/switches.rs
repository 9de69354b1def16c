//! Switches for what AWS does not publish or does in several ways, each with its source.
//!
//! A switch is a field of [`Switches`] and thereby an option of `sandbox run`. Its default is the
//! likeliest behaviour of production Lambda. "RIE" is AWS's own open
//! `aws-lambda-runtime-interface-emulator`.

use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Parser};

/// Every switch of an environment.
#[derive(clap::Args, Clone, Debug)]
pub struct Switches {
    /// What maxMemoryUsedMB says after an out-of-memory kill: below:N, equal or peak.
    #[arg(long, default_value = "below:1", value_name = "FIGURE")]
    pub memory_after_kill: MemoryAfterKill,
    /// When the report of an invocation that ended the runtime reaches the extension.
    #[arg(long, value_enum, default_value_t = LateReport::AfterRestart)]
    pub late_report: LateReport,
    /// How the runtimeDone of such an invocation reaches the extension.
    #[arg(long, value_enum, default_value_t = RuntimeDone::BeforeShutdown)]
    pub runtime_done: RuntimeDone,
    /// When waiting telemetry is posted in a shutdown.
    #[arg(long, value_enum, default_value_t = ShutdownFlush::Usual)]
    pub shutdown_flush: ShutdownFlush,
    /// Shutdown reasons in capitals.
    ///
    /// So the documentation writes them. RIE and third parties have seen lower case.
    #[arg(long)]
    pub capital_reasons: bool,
    /// Records of output lines lose their newline.
    ///
    /// Managed runtimes keep it, RIE does not.
    #[arg(long = "no-newline", action = ArgAction::SetFalse)]
    pub trailing_newline: bool,
    /// `<`, `>` and `&` in telemetry as `\u003c`, `\u003e` and `\u0026`.
    ///
    /// Go's `encoding/json` does so. Seen in RIE, unknown in production.
    #[arg(long)]
    pub html_escape: bool,
    /// A refused telemetry request is dropped and reported, not sent again.
    ///
    /// AWS sends it again. RIE drops it and reports `platform.logsDropped`.
    #[arg(long = "no-resend", action = ArgAction::SetFalse)]
    pub resend: bool,
    /// Every telemetry request is sent twice: AWS delivers at least once.
    #[arg(long)]
    pub duplicate: bool,
    /// Records are cut inside at this size instead of at maxBytes, which is at least 262,144.
    #[arg(long, value_name = "BYTES")]
    pub cut_at: Option<usize>,
    /// The environment makes events of its own. Without it only given events are posted.
    #[arg(skip = true)]
    pub own_telemetry: bool,
    /// The environment is not frozen between invocations, unlike on AWS.
    #[arg(long = "no-freeze", action = ArgAction::SetFalse)]
    pub freeze: bool,
    /// How long extensions have in SHUTDOWN: 2,000 ms with an external one (AWS).
    #[arg(skip = Duration::from_millis(2000))]
    pub shutdown_limit: Duration,
    /// SHUTDOWN reaches the extensions with this much of their time left.
    ///
    /// It does not matter then how long the runtime took. A runtime that ignored SIGTERM left
    /// 398 ms (seen in RIE).
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub shutdown_left: Option<Duration>,
    /// Whether the init after a reset is reported before or after its `platform.start`.
    #[arg(long, value_enum, default_value_t = SuppressedInit::BeforeStart)]
    pub suppressed_init: SuppressedInit,
    /// Drop the machine's page cache before each init. It needs root.
    ///
    /// The environment then pays for the pages of its own code
    /// (DataDog/datadog-lambda-extension 1237). It slows the whole machine for a moment.
    #[arg(long)]
    pub cold: bool,
}

impl Default for Switches {
    /// The defaults of the options.
    fn default() -> Self {
        #[derive(Parser)]
        struct Options {
            #[command(flatten)]
            switches: Switches,
        }
        Options::parse_from([""]).switches
    }
}

fn milliseconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_millis)
}

/// What `maxMemoryUsedMB` says after a kill. Without a kill it is the peak of the cgroup, at most
/// the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemoryAfterKill {
    /// This much below the limit: 1023/1024 and 3007/3008 are public samples, 125/128 too.
    Below(u64),
    /// The limit: 512/512 and 5120/5120 are public samples.
    Equal,
    /// The peak of the cgroup, which is almost always the limit because of the page cache.
    Peak,
}

impl MemoryAfterKill {
    /// The figure.
    pub fn figure(self, peak_mb: u64, limit_mb: u64) -> u64 {
        match self {
            Self::Below(mb) => limit_mb.saturating_sub(mb),
            Self::Equal => limit_mb,
            Self::Peak => peak_mb.min(limit_mb),
        }
    }
}

impl FromStr for MemoryAfterKill {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "equal" => Ok(Self::Equal),
            "peak" => Ok(Self::Peak),
            _ => {
                let below = text.strip_prefix("below:").and_then(|mb| mb.parse().ok());
                below.map(Self::Below).ok_or("neither below:N, equal nor peak")
            }
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

/// When waiting telemetry is posted in a shutdown.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutdownFlush {
    /// Beside SHUTDOWN after a failure. Before SHUTDOWN where the environment is not needed any
    /// more: it was idle for minutes, and telemetry waits only 25 ms.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_after_a_kill_has_three_forms() {
        let parsed = ["equal", "peak", "below:3"].map(MemoryAfterKill::from_str);
        let expected = [MemoryAfterKill::Equal, MemoryAfterKill::Peak, MemoryAfterKill::Below(3)];
        assert_eq!(parsed, expected.map(Ok));
        assert!(
            ["below:", "above:1", ""].iter().all(|text| MemoryAfterKill::from_str(text).is_err())
        );
    }
}
