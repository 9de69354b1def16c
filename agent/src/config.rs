//! The environment variables, read once at the start.
//!
//! In: a function from a variable's name to its value, and one that says whether a file exists.
//! Out: a [`Config`], always. A value that makes no sense is replaced by the default, and a
//! [`Warning`] says so. An empty value counts as not set. Nothing is written or logged here.
//!
//! The variables of one sink are in its file in `delivery/sink/`, and those that all network sinks
//! share in `delivery/proxy.rs` and `delivery/certificates.rs`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use oom_witness_core::format::escaped_size;
#[cfg(feature = "network")]
use oom_witness_core::limits::SOURCE_TEXT_MAX;
use oom_witness_core::limits::{FUNCTION_NAME_MAX, SOURCE_WORD_MAX};
use oom_witness_core::{InitializationType, Settings, Source, Suspected};

use crate::delivery::sink::{Sink, SinkSet};
use crate::lambda::telemetry_api::PORT_RESERVED;
use crate::variable::{InvalidVariable, Variables, Warning, text};

#[cfg(feature = "network")]
mod fit;
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
    /// `OOM_WITNESS_SUSPECTED`.
    pub(crate) suspected: Suspected,
    /// `OOM_WITNESS_NAMESPACE`: EMF's.
    pub(crate) namespace: String,
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
    /// `DD_TAGS`, `DD_ENV`, `DD_SERVICE`, `DD_VERSION`.
    pub(crate) tags: String,
    pub(crate) env: String,
    pub(crate) service: String,
    pub(crate) version: String,
}

/// What the user should know about the variables.
pub(crate) type Warnings = heapless::Vec<Warning, WARNINGS_MAX>;

/// One for each variable, here and in the sinks: each gives at most one.
const WARNINGS_MAX: usize = 24;

const PORT: u16 = 6161;
const STATE: &str = "/tmp/oom-witness";
const NAMESPACE: &str = "OomWitness";

/// The lines of `--help` for the variables that each build has.
pub(crate) const HELP: &str = "\
    OOM_WITNESS_SINKS         where detections go; unset: what is configured, else emf
    OOM_WITNESS_SUSPECTED     count (default), once or ignore
    OOM_WITNESS_NAMESPACE     of the emf metric; OomWitness by default
    OOM_WITNESS_LOGS          off: do not read the function's log lines
    OOM_WITNESS_LOG           off, error, warn, info (default): our own lines
    OOM_WITNESS_PORT          for telemetry; 6161 by default; not 9001
    OOM_WITNESS_STATE         what survives a restart; /tmp/oom-witness by default
    OOM_WITNESS_CGROUP        in place of /sys/fs/cgroup, or off
    OOM_WITNESS_VMSTAT        in place of /proc/vmstat, or off
    OOM_WITNESS_EXTENSIONS    in place of /opt/extensions, or off
";

impl Config {
    /// Reads all variables through `get`, and asks `exists` which files there are.
    #[cold]
    #[inline(never)]
    pub(crate) fn from_vars(
        get: Variables<'_>,
        exists: &dyn Fn(&Path) -> bool,
        warnings: &mut Warnings,
    ) -> Self {
        let mut vars = Reader { get, warnings };
        let (sinks, left_to_other) = vars.sinks(exists);
        let is_remote = !sinks.network().is_empty();
        Self {
            // A value that is not UTF-8 is no address. Connecting to it says so.
            runtime_api: given(get, "AWS_LAMBDA_RUNTIME_API")
                .map(|api| api.to_string_lossy().trim().to_owned())
                .filter(|api| !api.is_empty()),
            port: vars.port(),
            logs: vars.logs(),
            level: vars.level(),
            sinks,
            left_to_other,
            suspected: vars.suspected(),
            namespace: vars.namespace(),
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
            tags: vars.tags("DD_TAGS", is_remote),
            env: vars.tag("DD_ENV", is_remote),
            service: vars.tag("DD_SERVICE", is_remote),
            version: vars.tag("DD_VERSION", is_remote),
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

/// A variable's value, unless it is empty.
fn given(get: Variables<'_>, name: &str) -> Option<OsString> {
    get(name).filter(|value| !value.is_empty())
}

/// A path; `None` for `off`.
fn place(get: Variables<'_>, name: &str, default: &str) -> Option<PathBuf> {
    let value = given(get, name).unwrap_or_else(|| default.into());
    (value != "off").then(|| value.into())
}

/// What happens to a variable that has no default.
const NOT_SET: &str = "it counts as not set";

/// Reads variables, and warns of values that make no sense.
struct Reader<'a> {
    get: Variables<'a>,
    warnings: &'a mut Warnings,
}

impl Reader<'_> {
    fn warn(&mut self, warning: Warning) {
        // There is room for all of them, as a test checks.
        let _ = self.warnings.push(warning);
    }

    /// A variable's text without the blanks around it. Empty if it is not set, or not UTF-8.
    fn text(&mut self, name: &'static str) -> String {
        text(self.get, name).unwrap_or_else(|ignored| {
            self.warn(Warning::NotUsed(ignored, NOT_SET));
            String::new()
        })
    }

    /// A text that the platform sets. One of more than `max` bytes makes no sense.
    fn platform_text(&mut self, name: &'static str, max: usize, takes: &'static str) -> String {
        let mut text = self.text(name);
        if escaped_size(&text) > max {
            text.clear();
            self.warn(Warning::NotUsed(InvalidVariable { name, takes }, NOT_SET));
        }
        text
    }

    fn word(&mut self, name: &'static str) -> String {
        self.platform_text(name, SOURCE_WORD_MAX, "at most 32 bytes")
    }

    /// The value of one tag, cut to its limit. There is no warning if no sink shows it.
    #[cfg(feature = "network")]
    fn tag(&mut self, name: &'static str, is_shown: bool) -> String {
        let mut text = self.text(name);
        if fit::cut(&mut text, SOURCE_TEXT_MAX) && is_shown {
            self.warn(Warning::Cut { name, max: SOURCE_TEXT_MAX });
        }
        text
    }

    /// The tags that fit. There is no warning if no sink shows them.
    #[cfg(feature = "network")]
    fn tags(&mut self, name: &'static str, is_shown: bool) -> String {
        let mut tags = self.text(name);
        let count = fit::fit_tags(&mut tags);
        if count > 0 && is_shown {
            self.warn(Warning::TagsLeftOut { name, count });
        }
        tags
    }

    /// No sink of this build shows tags.
    #[cfg(not(feature = "network"))]
    const fn tag(&self, _: &'static str, _: bool) -> String {
        String::new()
    }

    #[cfg(not(feature = "network"))]
    const fn tags(&self, _: &'static str, _: bool) -> String {
        String::new()
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

    fn namespace(&mut self) -> String {
        self.one_of(
            "OOM_WITNESS_NAMESPACE",
            "1 to 256 letters, digits and .-_/#: or spaces",
            "the default is OomWitness",
            String::new(),
            |text| is_namespace(text).then(|| text.to_owned()),
        )
    }

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

    /// The sinks that `OOM_WITNESS_SINKS` names and that can work. Without any, the configured
    /// network sinks, except one whose own extension is here and counts the same. Without any of
    /// those, `emf`.
    fn sinks(&mut self, exists: &dyn Fn(&Path) -> bool) -> (SinkSet, Option<Sink>) {
        let mut configured = SinkSet::EMPTY;
        for sink in Sink::ALL {
            match sink.is_configured(self.get) {
                Ok(true) => configured.insert(*sink),
                Ok(false) => {}
                Err(ignored) => self.warn(Warning::NotUsed(ignored, "its sink is not used")),
            }
        }
        let mut sinks = self.named_sinks(configured);
        let mut left_to_other = None;
        if sinks.is_empty() && !configured.is_empty() {
            (sinks, left_to_other) = self.without_others(configured, exists);
        }
        if sinks.is_empty() {
            sinks.insert(Sink::Emf);
        }
        for sink in sinks.iter() {
            sink.check(self.get, &mut |warning| {
                let _ = self.warnings.push(warning);
            });
        }
        (sinks, left_to_other)
    }

    /// The sinks whose own extension is not here, and one of the sinks whose extension is.
    fn without_others(
        &self,
        configured: SinkSet,
        exists: &dyn Fn(&Path) -> bool,
    ) -> (SinkSet, Option<Sink>) {
        let (mut sinks, mut left_to_other) = (SinkSet::EMPTY, None);
        let extensions = place(self.get, "OOM_WITNESS_EXTENSIONS", "/opt/extensions");
        for sink in configured.iter() {
            let other = sink.other_extension();
            let file = extensions.as_ref().zip(other).map(|(folder, name)| folder.join(name));
            if file.is_some_and(|file| exists(&file)) {
                left_to_other = Some(sink);
            } else {
                sinks.insert(sink);
            }
        }
        (sinks, left_to_other)
    }

    fn named_sinks(&mut self, configured: SinkSet) -> SinkSet {
        let mut named = SinkSet::EMPTY;
        let mut is_wrong = false;
        let name = "OOM_WITNESS_SINKS";
        let text = text(self.get, name).unwrap_or_else(|_| {
            is_wrong = true;
            String::new()
        });
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Sink::named(name) {
                Some(sink) if sink == Sink::Emf || configured.contains(sink) => named.insert(sink),
                _ => is_wrong = true,
            }
        }
        if is_wrong {
            let instead =
                if named.is_empty() { "the default is used" } else { "the other names are used" };
            self.warn(Warning::NotListed { name, takes: Sink::TAKES, instead });
        }
        named
    }
}

const _: () =
    assert!(SOURCE_WORD_MAX == 32 && FUNCTION_NAME_MAX == 140, "warnings name these numbers");

/// CloudWatch's rule for the names of namespaces.
fn is_namespace(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    text.len() <= 256 && text.bytes().all(allowed) && !text.starts_with(':')
}
