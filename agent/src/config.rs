//! The environment variables, read once at the start.
//!
//! In: a function from a variable's name to its value, and one that says whether a file exists.
//! Out: a [`Config`], always. A value that makes no sense is replaced by the default, and a
//! [`Warning`] says so. An empty value counts as not set. Nothing is written or logged here.
//!
//! The variables of one sink are in its file in `delivery/sink/`. The variables that all network
//! sinks share are in `delivery/proxy.rs` and `delivery/certificates.rs`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use oom_witness_core::format::escaped_size;
use oom_witness_core::sizes::{FUNCTION_NAME_MAX, SOURCE_WORD_MAX};
use oom_witness_core::{InitializationType, Runtime, Settings, Source, Suspected};

use crate::delivery::sink::{Sink, SinkSet, SinkSettings};
use crate::lambda::telemetry_api::PORT_RESERVED;
use crate::variable::{
    InvalidVariable, NOT_SET, VariableRow, Variables, Warning, text, text_or_empty, variables,
};

mod sinks;
#[cfg(test)]
mod tests;

/// What the environment says.
#[derive(Debug)]
pub(crate) struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: `host:port`. Absent outside Lambda.
    pub(crate) runtime_api: Option<String>,
    /// `OOM_WITNESS_PORT`: where the agent listens for telemetry.
    pub(crate) port: u16,
    /// `OOM_WITNESS_LOGS`: subscribe to the function's log lines too.
    pub(crate) logs: bool,
    /// `OOM_WITNESS_LOG`: the level of our own lines.
    pub(crate) level: LevelFilter,
    /// `OOM_WITNESS_SINKS`, or what the other variables ask for.
    pub(crate) sinks: SinkSet,
    /// A configured sink that is left to another extension, which counts the same metric.
    pub(crate) left_to_other: Option<Sink>,
    /// The sinks whose key a child first fetches from AWS.
    pub(crate) key_sinks: SinkSet,
    /// `OOM_WITNESS_SUSPECTED`.
    pub(crate) suspected: Suspected,
    /// `OOM_WITNESS_HIGH_WATER`: from which share of the limit to warn, in percent.
    pub(crate) high_water_percent: Option<u8>,
    /// `OOM_WITNESS_STATE`: the journal's file.
    pub(crate) state: OsString,
    /// `OOM_WITNESS_CGROUP` and `OOM_WITNESS_VMSTAT`: where the kernel's counter is.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) vmstat: Option<PathBuf>,
    /// `AWS_LAMBDA_FUNCTION_NAME`, `_VERSION`, `AWS_REGION`, and so on: what a metric is about.
    pub(crate) function_name: String,
    pub(crate) function_version: String,
    pub(crate) region: String,
    pub(crate) initialization_type: String,
    pub(crate) memory_size_mb: String,
    /// What the variables of the sinks say.
    pub(crate) sink_settings: SinkSettings,
}

/// What the user should know about the variables.
pub(crate) type Warnings = heapless::Vec<Warning, WARNINGS_MAX>;

/// One for each variable, here and in the sinks: each gives at most one.
const WARNINGS_MAX: usize = 44;

const PORT: u16 = 6161;
const STATE: &str = "/tmp/oom-witness";

/// The variables that each build has.
pub(crate) const VARIABLES: &[VariableRow] = variables![
    ["OOM_WITNESS_SINKS"] All "where detections go; if unset, what is configured, else emf",
    ["OOM_WITNESS_SUSPECTED"] All "count (default), once or ignore",
    ["OOM_WITNESS_HIGH_WATER"] All
        "1 to 99: warn at this share of the limit, in percent; unset: off",
    ["OOM_WITNESS_LOGS"] All "off: do not read the function's log lines",
    ["OOM_WITNESS_LOG"] All "off, error, warn, info (default): our own lines",
    ["OOM_WITNESS_PORT"] All "for telemetry; 6161 by default; not 9001",
    ["OOM_WITNESS_STATE"] All "what survives a restart; /tmp/oom-witness by default",
    ["OOM_WITNESS_CGROUP"] All "in place of /sys/fs/cgroup, or off",
    ["OOM_WITNESS_VMSTAT"] All "in place of /proc/vmstat, or off",
    ["OOM_WITNESS_EXTENSIONS"] All "in place of /opt/extensions, or off",
];

/// The variables that ask for a sink which this build does not have.
#[cfg(not(all(feature = "datadog", feature = "otlp")))]
const OF_OTHER_BUILDS: &[&str] = &[
    #[cfg(not(feature = "datadog"))]
    "DD_API_KEY",
    #[cfg(not(feature = "datadog"))]
    "DD_API_KEY_SECRET_ARN",
    #[cfg(not(feature = "datadog"))]
    "DD_API_KEY_SSM_ARN",
    #[cfg(not(feature = "datadog"))]
    "DD_KMS_API_KEY",
    #[cfg(not(feature = "otlp"))]
    "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN",
    #[cfg(not(feature = "otlp"))]
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    #[cfg(not(feature = "otlp"))]
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];

impl Config {
    /// Reads all variables through `get`, and asks `exists` which files there are.
    #[cold]
    #[inline(never)]
    pub(crate) fn from_vars(
        get: Variables<'_>,
        exists: &dyn Fn(&Path) -> bool,
        warnings: &mut Warnings,
    ) -> Self {
        let mut vars = VariableReader { get, warnings };
        #[cfg(not(all(feature = "datadog", feature = "otlp")))]
        vars.warn_of_other_builds();
        let (sinks, left_to_other) = vars.sinks(exists);
        Self {
            // A value that is not UTF-8 is no address. Connecting to it says so.
            runtime_api: given(get, "AWS_LAMBDA_RUNTIME_API")
                .map(|api| api.to_string_lossy().trim().to_owned())
                .filter(|api| !api.is_empty()),
            port: vars.port(),
            logs: vars.logs(),
            level: vars.level(),
            sinks,
            key_sinks: sinks::with_key_source(get, sinks),
            left_to_other,
            suspected: vars.suspected(),
            high_water_percent: vars.high_water_percent(),
            state: given(get, "OOM_WITNESS_STATE").unwrap_or_else(|| STATE.into()),
            cgroup: place(get, "OOM_WITNESS_CGROUP", "/sys/fs/cgroup"),
            vmstat: place(get, "OOM_WITNESS_VMSTAT", "/proc/vmstat"),
            function_name: vars.platform_text(
                "AWS_LAMBDA_FUNCTION_NAME",
                FUNCTION_NAME_MAX,
                "at most 140 bytes",
            ),
            function_version: vars.word("AWS_LAMBDA_FUNCTION_VERSION"),
            region: vars.word("AWS_REGION"),
            initialization_type: vars.word("AWS_LAMBDA_INITIALIZATION_TYPE"),
            memory_size_mb: vars.word("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
            sink_settings: vars.sink_settings(sinks),
        }
    }

    /// What the detector needs to know.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            suspected: self.suspected,
            initialization_type: self.initialization_type(),
            memory_size_mb: self.memory_size_mb.parse().ok(),
            high_water_percent: self.high_water_percent,
        }
    }

    /// True on Managed Instances: several invocations run at once, and nothing is ever frozen.
    pub(crate) fn is_managed_instances(&self) -> bool {
        self.initialization_type() == InitializationType::ManagedInstances
    }

    /// True if the environment has a virtual machine of its own, whose kernel counts only for it.
    pub(crate) fn has_own_machine(&self) -> bool {
        !matches!(
            self.initialization_type(),
            InitializationType::ManagedInstances | InitializationType::Unknown
        )
    }

    /// What a metric says about the function.
    pub(crate) fn source<'a>(&'a self, account_id: &'a str) -> Source<'a> {
        Source {
            function_name: &self.function_name,
            function_version: &self.function_version,
            region: &self.region,
            account_id,
            initialization_type: &self.initialization_type,
            memory_size_mb: &self.memory_size_mb,
            // The detector learns it.
            runtime: Runtime::UNKNOWN,
        }
    }

    fn initialization_type(&self) -> InitializationType {
        InitializationType::parse(&self.initialization_type)
    }
}

/// A variable's value, unless it is empty.
fn given(get: Variables<'_>, name: &str) -> Option<OsString> {
    get(name).filter(|value| !value.is_empty())
}

/// The path that a variable names. `None` for `off`.
fn place(get: Variables<'_>, name: &str, default: &str) -> Option<PathBuf> {
    let value = given(get, name).unwrap_or_else(|| default.into());
    (value != "off").then(|| value.into())
}

/// Reads variables, and warns of values that make no sense.
struct VariableReader<'a> {
    get: Variables<'a>,
    warnings: &'a mut Warnings,
}

impl VariableReader<'_> {
    fn warn(&mut self, warning: Warning) {
        // Two network sinks may warn of the same variable.
        if !(cfg!(feature = "network") && self.warnings.contains(&warning)) {
            // There is room for all of them, as a test checks.
            let _ = self.warnings.push(warning);
        }
    }

    /// Warns of each variable that asks for a sink which this build does not have.
    #[cfg(not(all(feature = "datadog", feature = "otlp")))]
    fn warn_of_other_builds(&mut self) {
        for name in OF_OTHER_BUILDS {
            if given(self.get, name).is_some() {
                self.warn(Warning::OtherBuild { name });
            }
        }
    }

    /// A text that the platform sets. One of more than `max` bytes makes no sense.
    fn platform_text(&mut self, name: &'static str, max: usize, takes: &'static str) -> String {
        let mut text = text_or_empty(self.get, name, &mut |warning| self.warn(warning));
        if escaped_size(&text) > max {
            text.clear();
            self.warn(Warning::NotUsed(InvalidVariable { name, takes }, NOT_SET));
        }
        text
    }

    /// A short text that the platform sets.
    fn word(&mut self, name: &'static str) -> String {
        self.platform_text(name, SOURCE_WORD_MAX, "at most 32 bytes")
    }

    /// What the variables of all sinks say.
    fn sink_settings(&mut self, used: SinkSet) -> SinkSettings {
        let mut settings = SinkSettings::default();
        for sink in Sink::ALL {
            let is_used = used.contains(*sink);
            sink.read(self.get, is_used, &mut settings, &mut |warning| self.warn(warning));
        }
        settings
    }

    fn port(&mut self) -> u16 {
        self.one_of(
            "OOM_WITNESS_PORT",
            "a port from 1 to 65535 other than 9001, which is Lambda's",
            "the default is 6161",
            PORT,
            |text| text.parse().ok().filter(|port| ![0, PORT_RESERVED].contains(port)),
        )
    }

    fn logs(&mut self) -> bool {
        self.one_of("OOM_WITNESS_LOGS", "on or off", "the default is on", true, |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })
    }

    fn level(&mut self) -> LevelFilter {
        self.one_of(
            "OOM_WITNESS_LOG",
            "off, error, warn, info, debug or trace",
            "the default is info",
            LevelFilter::Info,
            |text| text.parse().ok(),
        )
    }

    fn suspected(&mut self) -> Suspected {
        self.one_of(
            "OOM_WITNESS_SUSPECTED",
            "count, once or ignore",
            "the default is count",
            Suspected::Count,
            |text| match text {
                "count" => Some(Suspected::Count),
                "once" => Some(Suspected::Once),
                "ignore" => Some(Suspected::Ignore),
                _ => None,
            },
        )
    }

    /// The sign `%` may stand after the number.
    fn high_water_percent(&mut self) -> Option<u8> {
        self.one_of(
            "OOM_WITNESS_HIGH_WATER",
            "a whole number from 1 to 99",
            "the metric stays off",
            None,
            |text| {
                let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
                number.filter(|percent| (1..100).contains(percent)).map(Some)
            },
        )
    }

    /// The value that `read` makes of a variable's text, or the default.
    fn one_of<T>(
        &mut self,
        name: &'static str,
        takes: &'static str,
        instead: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let value = match text(self.get, name) {
            Ok(text) if text.is_empty() => return default,
            Ok(text) => read(&text),
            Err(_) => None,
        };
        value.unwrap_or_else(|| {
            self.warn(Warning::NotUsed(InvalidVariable { name, takes }, instead));
            default
        })
    }
}

const _: () =
    assert!(SOURCE_WORD_MAX == 32 && FUNCTION_NAME_MAX == 140, "warnings name these numbers");
