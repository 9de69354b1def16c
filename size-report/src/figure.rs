//! The catalogue: each scenario and how it is measured, each figure and what it is.
//!
//! A report takes all words about its figures from here. A figure's full name is `scenario.figure`,
//! in budgets.toml and in the JSON. The name ends with its unit. No figure is measured here.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::args::value_name;

/// One kind of run, which `scenario/` measures. It compiles only if none is left out there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum CostScenario {
    /// The file, without running it.
    Binary,
    /// The extension's start.
    Start,
    /// After the init.
    Idle,
    /// After many invocations.
    Invocations,
    /// The system calls of an invocation.
    SystemCalls,
    /// The processor time of quiet invocations.
    Quiet,
    /// During an out-of-memory kill, without a network.
    OomEmf,
    /// During an out-of-memory kill that is sent over TLS.
    OomTls,
    /// The process that makes the TLS request.
    Child,
}

impl CostScenario {
    /// All, in the order in which they are measured and printed.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The first part of its figures' names.
    pub(crate) fn name(self) -> String {
        value_name(&self)
    }

    /// How its figures are taken.
    pub(crate) const fn how(self) -> &'static str {
        match self {
            Self::Binary => "read from the file as it is; sections by their flags",
            Self::Start => {
                "the sandbox's clock, from just before the process starts to the call; no cgroup"
            }
            Self::Idle => {
                "/proc/PID after init, when two readings 50 ms apart agree; no cgroup, no limit"
            }
            Self::Invocations => {
                "as idle, after the last invocation; each has three log lines and its telemetry"
            }
            Self::SystemCalls => {
                "strace -f -c of 20 invocations after the 10th, in an environment of its own"
            }
            Self::Quiet => {
                "/proc/PID/task/*/schedstat at rest, before and after 2,000 quiet invocations \
                 (INVOKE, then three requests: the last report and start, one line, runtimeDone) \
                 after 50; no cgroup"
            }
            Self::OomEmf => {
                "/proc/PID polled through a real kernel kill of the function and SHUTDOWN, \
                 until the process is gone"
            }
            Self::OomTls => {
                "as oom_emf, with Datadog's variables set to a TLS 1.3 intake on this machine, \
                 which delays its answer by 20 ms"
            }
            Self::Child => {
                "/proc/PID of the extension's child, polled about every 0.1 ms from its exec until \
                 it is gone, in the runs of oom_tls"
            }
        }
    }
}

/// One figure of a scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Figure {
    /// The second part of its full name. It ends with the unit, see [`Unit::of`].
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) what: &'static str,
    /// How it is measured, if differently from its scenario.
    pub(crate) how: Option<&'static str>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Bytes,
    Count,
    #[serde(rename = "KiB")]
    Kib,
    /// Nanoseconds, printed as microseconds.
    Ns,
    Percent,
    /// Microseconds, printed as milliseconds.
    Us,
}

impl Unit {
    /// The unit at the end of a figure's name.
    pub(crate) fn of(name: &str) -> Self {
        match name.rsplit('_').next() {
            Some("bytes") => Self::Bytes,
            Some("kib") => Self::Kib,
            Some("ns") => Self::Ns,
            Some("percent") => Self::Percent,
            Some("us") => Self::Us,
            _ => Self::Count,
        }
    }

    /// Whether it is a time, which can have no budget.
    pub(crate) const fn is_time(self) -> bool {
        matches!(self, Self::Ns | Self::Us)
    }

    /// A value with its unit, for a reader.
    pub(crate) fn show(self, value: i64) -> String {
        let time = value.max(0);
        match self {
            Self::Bytes => grouped(value),
            Self::Count => value.to_string(),
            Self::Kib => format!("{} KiB", grouped(value)),
            Self::Ns => format!("{}.{} us", grouped(time / 1000), time % 1000 / 100),
            Self::Percent => format!("{value} %"),
            Self::Us => format!("{}.{:02} ms", time / 1000, time % 1000 / 10),
        }
    }
}

/// `-1234567` as `-1,234,567`.
fn grouped(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{sign}{}", groups.join(","))
}

const fn figure(name: &'static str, what: &'static str) -> Figure {
    Figure { name, what, how: None }
}

const fn taken(name: &'static str, what: &'static str, how: &'static str) -> Figure {
    Figure { name, what, how: Some(how) }
}

pub(crate) const FILE: Figure = figure("file_bytes", "size of the file");
pub(crate) const GZIP: Figure =
    figure("gzip_bytes", "the file through gzip -9, about what a zip of it holds");
pub(crate) const ZIP: Figure = figure("zip_bytes", "the layer, as it is uploaded");
pub(crate) const TEXT: Figure = figure("text_bytes", "code");
pub(crate) const RODATA: Figure =
    figure("rodata_bytes", "loaded and never written: constants, unwind tables");
pub(crate) const RELRO: Figure = figure("relro_bytes", "written by the loader, then read-only");
pub(crate) const DATA: Figure = figure("data_bytes", "initial values of variables");
pub(crate) const BSS: Figure = figure("bss_bytes", "zeroed variables: not in the file");

pub(crate) const REGISTER: Figure = figure("register_us", "process start to its register call");
pub(crate) const NEXT: Figure = figure("next_us", "process start to its first call of next");

pub(crate) const RSS: Figure = figure("rss_kib", "resident (VmRSS)");
pub(crate) const RSS_LAST: Figure =
    figure("rss_kib", "resident (VmRSS) at the last reading before it ended");
pub(crate) const RSS_ANON: Figure = figure("rss_anon_kib", "resident and its own (RssAnon)");
pub(crate) const RSS_ANON_MOST: Figure =
    figure("rss_anon_kib", "resident and its own (RssAnon), the most seen");
pub(crate) const RSS_FILE: Figure = figure("rss_file_kib", "resident from files (RssFile)");
pub(crate) const VM_HWM: Figure = figure("vm_hwm_kib", "the most ever resident (VmHWM)");
pub(crate) const PAGE_TABLES: Figure = figure("page_tables_kib", "page tables (VmPTE)");
pub(crate) const PSS: Figure = taken(
    "pss_kib",
    "resident, shared pages divided (PSS)",
    "as the others, from /proc/PID/smaps_rollup, which counts page by page",
);
pub(crate) const THREADS: Figure = figure("threads", "threads");
pub(crate) const OPEN_FILES: Figure = figure("open_files", "open descriptors");
pub(crate) const GROWTH: Figure = taken(
    "growth_kib",
    "RSS after the last invocation minus after the 10th",
    "two readings of the same process at rest, from /proc/PID/smaps_rollup",
);

pub(crate) const CALLS: Figure =
    figure("per_invocation", "system calls of an invocation with three log lines");

pub(crate) const CPU: Figure =
    figure("cpu_ns", "processor time of a quiet invocation, user and system");
pub(crate) const CPU_VMSTAT: Figure = taken(
    "vmstat_cpu_ns",
    "the same where /proc/vmstat can be read",
    "the same, with OOM_WITNESS_VMSTAT=/proc/vmstat",
);
pub(crate) const CPU_CRATE: Figure = taken(
    "crate_cpu_ns",
    "the same of the smallest extension on AWS's crate",
    "the same, with size-report/peers/lambda-extension; they take turns every 100 invocations, on \
     one processor",
);
pub(crate) const CRATE_PERCENT: Figure = taken(
    "crate_percent",
    "the agent's processor time as a share of that of the crate's extension",
    "the median of all runs' shares; in each run the two took turns",
);

pub(crate) const COUNTED: Figure =
    taken("counted", "how often the kill was counted", "read from its output, or by the intake");
pub(crate) const UNSEEN: Figure =
    figure("unseen_us", "from the last reading to the first that found the process gone");
pub(crate) const CHILDREN: Figure = figure("processes", "processes it started");
pub(crate) const DURATION: Figure = taken(
    "duration_us",
    "start to end of the process",
    "the child's command line run again, with the body that the intake got; it answers at once",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_unit() {
        assert_eq!(Unit::Bytes.show(1_234_567), "1,234,567");
        assert_eq!(Unit::Kib.show(-12), "-12 KiB");
        assert_eq!(Unit::Kib.show(999), "999 KiB");
        assert_eq!(Unit::Us.show(2_345), "2.34 ms");
        assert_eq!(Unit::Ns.show(1_061_290), "1,061.2 us");
        assert_eq!(Unit::Percent.show(70), "70 %");
        assert_eq!(Unit::Count.show(1_000), "1000");
    }

    #[test]
    fn the_unit_ends_the_name() {
        let times = [REGISTER, NEXT, UNSEEN, DURATION, CPU];
        assert!(times.iter().all(|figure| Unit::of(figure.name).is_time()));
        let others = [RSS, RSS_ANON, VM_HWM, FILE, THREADS, COUNTED, CRATE_PERCENT];
        let units = others.map(|figure| Unit::of(figure.name));
        let [kib, count] = [Unit::Kib, Unit::Count];
        assert_eq!(units, [kib, kib, kib, Unit::Bytes, count, count, Unit::Percent]);
    }

    #[test]
    fn the_readme_has_a_row_for_each_scenario() {
        for scenario in CostScenario::all() {
            let row = format!("\n| `{}` |", scenario.name());
            assert!(include_str!("../README.md").contains(&row), "{row}");
        }
    }
}
