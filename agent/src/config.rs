//! Every environment variable, read once at the start.
//!
//! Goes in: a function from a variable's name to its value. Comes out: [`Config`], always: a value
//! that makes no sense is replaced by the default and remembered in [`Config::ignored`]. An empty
//! value counts as none. Nothing is written or logged here.

use std::ffi::OsString;
use std::path::PathBuf;

use log::LevelFilter;
use oom_witness_core::{InitializationType, Settings, Source, Suspected};

use crate::sink::{Sink, SinkSet};
use crate::variable::{Ignored, text};

#[cfg(test)]
mod tests;

/// What the environment says.
#[derive(Debug)]
pub(crate) struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: `host:port`; absent outside of Lambda.
    pub(crate) runtime_api: Option<String>,
    /// `OOM_WITNESS_PORT`: where telemetry is listened for.
    pub(crate) port: u16,
    /// `OOM_WITNESS_LOGS`: subscribe to the function's log lines too.
    pub(crate) logs: bool,
    /// `OOM_WITNESS_LOG`: the level of our own lines.
    pub(crate) level: LevelFilter,
    /// `OOM_WITNESS_SINKS`, or what the other variables ask for.
    pub(crate) sinks: SinkSet,
    /// `OOM_WITNESS_SUSPECTED`.
    pub(crate) suspected: Suspected,
    /// `OOM_WITNESS_NAMESPACE`: EMF's.
    pub(crate) namespace: String,
    /// `OOM_WITNESS_STATE`: the journal's file.
    pub(crate) state: OsString,
    /// `OOM_WITNESS_CGROUP` and `OOM_WITNESS_VMSTAT`: where the kernel's counter is looked for.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) vmstat: Option<PathBuf>,
    /// `AWS_LAMBDA_FUNCTION_NAME`, `_VERSION`, `AWS_REGION`, and so on: what a metric is about.
    pub(crate) function_name: String,
    pub(crate) function_version: String,
    pub(crate) region: String,
    pub(crate) initialization_type: String,
    pub(crate) memory_size_mb: String,
    /// `DD_TAGS`, `DD_ENV`, `DD_SERVICE`, `DD_VERSION`.
    pub(crate) tags: String,
    pub(crate) env: String,
    pub(crate) service: String,
    pub(crate) version: String,
    /// The variables whose values made no sense, and what they take.
    pub(crate) ignored: heapless::Vec<Ignored, IGNORED_MAX>,
}

/// As many as there are checks below.
const IGNORED_MAX: usize = 12;

const PORT: u16 = 6161;
const STATE: &str = "/tmp/oom-witness";
const NAMESPACE: &str = "OomWitness";

impl Config {
    /// Reads all variables through `get`.
    pub(crate) fn from_vars(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut vars = Vars { get: &get, ignored: heapless::Vec::new() };
        let sinks = vars.sinks();
        Self {
            runtime_api: Some(vars.text("AWS_LAMBDA_RUNTIME_API")).filter(|api| !api.is_empty()),
            port: vars.one_of("OOM_WITNESS_PORT", "a port from 1 to 65535", PORT, |text| {
                text.parse().ok().filter(|port| *port != 0)
            }),
            logs: vars.one_of("OOM_WITNESS_LOGS", "on or off", true, |text| match text {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            }),
            level: vars
                .one_of("OOM_WITNESS_LOG", LEVELS, LevelFilter::Info, |text| text.parse().ok()),
            sinks,
            suspected: vars.one_of(
                "OOM_WITNESS_SUSPECTED",
                "count, once or ignore",
                Suspected::Count,
                |text| match text {
                    "count" => Some(Suspected::Count),
                    "once" => Some(Suspected::Once),
                    "ignore" => Some(Suspected::Ignore),
                    _ => None,
                },
            ),
            namespace: vars.one_of(
                "OOM_WITNESS_NAMESPACE",
                "1 to 256 letters, digits and .-_/#: or spaces",
                String::new(),
                |text| is_namespace(text).then(|| text.to_owned()),
            ),
            state: given(&get, "OOM_WITNESS_STATE").unwrap_or_else(|| STATE.into()),
            cgroup: place(&get, "OOM_WITNESS_CGROUP", "/sys/fs/cgroup"),
            vmstat: place(&get, "OOM_WITNESS_VMSTAT", "/proc/vmstat"),
            function_name: vars.text("AWS_LAMBDA_FUNCTION_NAME"),
            function_version: vars.text("AWS_LAMBDA_FUNCTION_VERSION"),
            region: vars.text("AWS_REGION"),
            initialization_type: vars.text("AWS_LAMBDA_INITIALIZATION_TYPE"),
            memory_size_mb: vars.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
            tags: vars.text("DD_TAGS"),
            env: vars.text("DD_ENV"),
            service: vars.text("DD_SERVICE"),
            version: vars.text("DD_VERSION"),
            ignored: vars.ignored,
        }
    }

    /// What the detector needs to know.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            suspected: self.suspected,
            initialization_type: self.initialization_type(),
            memory_size_mb: self.memory_size_mb.parse().ok(),
        }
    }

    /// Several invocations at once, no freeze, no turn to wait for.
    pub(crate) fn is_managed_instances(&self) -> bool {
        self.initialization_type() == InitializationType::ManagedInstances
    }

    /// One environment is one virtual machine, and its kernel's counters are the environment's.
    pub(crate) fn has_own_machine(&self) -> bool {
        !matches!(
            self.initialization_type(),
            InitializationType::ManagedInstances | InitializationType::Unknown
        )
    }

    /// What a metric says about the function.
    pub(crate) fn source<'a>(&'a self, account_id: &'a str) -> Source<'a> {
        let namespace = if self.namespace.is_empty() { NAMESPACE } else { &self.namespace };
        Source {
            namespace,
            function_name: &self.function_name,
            function_version: &self.function_version,
            region: &self.region,
            account_id,
            initialization_type: &self.initialization_type,
            memory_size_mb: &self.memory_size_mb,
            tags: &self.tags,
            env: &self.env,
            service: &self.service,
            version: &self.version,
        }
    }

    fn initialization_type(&self) -> InitializationType {
        InitializationType::parse(&self.initialization_type)
    }
}

/// A variable's value as it is; an empty one is none.
fn given(get: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<OsString> {
    get(name).filter(|value| !value.is_empty())
}

/// A place in the file system, or nowhere for `off`.
fn place(get: &dyn Fn(&str) -> Option<OsString>, name: &str, default: &str) -> Option<PathBuf> {
    let value = given(get, name).unwrap_or_else(|| default.into());
    (value != "off").then(|| value.into())
}

const LEVELS: &str = "off, error, warn, info, debug or trace";

/// Reads variables and remembers which of them made no sense.
struct Vars<'a> {
    get: &'a dyn Fn(&str) -> Option<OsString>,
    ignored: heapless::Vec<Ignored, IGNORED_MAX>,
}

impl Vars<'_> {
    /// A variable's text without the blanks around it; empty if there is none, or none in UTF-8.
    fn text(&self, name: &str) -> String {
        text(self.get, name)
    }

    fn ignore(&mut self, name: &'static str, takes: &'static str) {
        // One entry a variable; the capacity is checked by a test.
        let _ = self.ignored.push(Ignored { name, takes });
    }

    fn one_of<T>(
        &mut self,
        name: &'static str,
        takes: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let text = self.text(name);
        if text.is_empty() {
            return default;
        }
        if let Some(value) = read(&text) {
            return value;
        }
        self.ignore(name, takes);
        default
    }

    /// The sinks that are named and can work; without a name the network sinks that are
    /// configured; without any of those, `emf`.
    fn sinks(&mut self) -> SinkSet {
        let mut configured = SinkSet::default();
        for sink in Sink::ALL {
            match sink.check(self.get) {
                Ok(true) => configured.insert(sink),
                Ok(false) => {}
                Err(ignored) => self.ignore(ignored.name, ignored.takes),
            }
        }
        let mut named = SinkSet::default();
        let mut wrong = false;
        let text = self.text("OOM_WITNESS_SINKS");
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Sink::ALL.into_iter().find(|sink| sink.name() == name) {
                Some(sink) if sink == Sink::Emf || configured.contains(sink) => named.insert(sink),
                _ => wrong = true,
            }
        }
        if wrong {
            self.ignore("OOM_WITNESS_SINKS", Sink::TAKES);
        }
        if named.is_empty() {
            named = configured;
        }
        if named.is_empty() {
            named.insert(Sink::Emf);
        }
        named
    }
}

/// CloudWatch's rule for the names of namespaces.
fn is_namespace(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    text.len() <= 256 && text.bytes().all(allowed) && !text.starts_with(':')
}
