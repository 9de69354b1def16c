//! Any bytes in any variable give a value or the default, and at most one warning each. The input
//! has the form of /proc/self/environ.
#![no_main]

include!("../agent.rs");

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use config::{Config, Warnings};
use delivery::sink::Sink;
use libfuzzer_sys::fuzz_target;
use log::LevelFilter;
use oom_witness_core::{Suspected, format};

fuzz_target!(|data: &[u8]| {
    let vars = Vars::of(data);
    let is_beside = vars.bytes("BESIDE").is_some();
    let mut warnings = Warnings::new();
    let get = |name: &str| vars.bytes(name).map(OsString::from_vec);
    let config = Config::from_vars(&get, &|_| is_beside, &mut warnings);
    let warned: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let warned: Vec<&str> = warned.iter().filter_map(|line| line.split(' ').next()).collect();
    let count = |name: &str| warned.iter().filter(|warned| **warned == name).count();
    assert!(warned.iter().all(|name| count(name) == 1), "{warned:?}");
    let check = |name: &'static str, is_taken: bool| {
        let is_wrong = !vars.is_text(name) || !vars.text(name).is_empty() && !is_taken;
        assert_eq!(count(name), usize::from(is_wrong), "{name}={:?}", vars.text(name));
    };
    let text = |name| vars.text(name);

    let port = port(&text("OOM_WITNESS_PORT"));
    check("OOM_WITNESS_PORT", port.is_some());
    assert_eq!(config.port, port.unwrap_or(6161));

    let logs = text("OOM_WITNESS_LOGS");
    check("OOM_WITNESS_LOGS", ["on", "off"].contains(&logs.as_str()));
    assert_eq!(config.logs, logs != "off");

    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let level = text("OOM_WITNESS_LOG").to_ascii_lowercase();
    let level = levels.iter().position(|name| *name == level);
    check("OOM_WITNESS_LOG", level.is_some());
    assert_eq!(config.level, LevelFilter::iter().nth(level.unwrap_or(3)).expect("as many levels"));

    let suspected = match text("OOM_WITNESS_SUSPECTED").as_str() {
        "count" => Some(Suspected::Count),
        "once" => Some(Suspected::Once),
        "ignore" => Some(Suspected::Ignore),
        _ => None,
    };
    check("OOM_WITNESS_SUSPECTED", suspected.is_some());
    assert_eq!(config.suspected, suspected.unwrap_or_default());

    let namespace = text("OOM_WITNESS_NAMESPACE");
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || ".-_/#: ".contains(char);
    let is_namespace =
        namespace.len() <= 256 && !namespace.starts_with(':') && namespace.chars().all(is_allowed);
    check("OOM_WITNESS_NAMESPACE", is_namespace);
    let is_used = is_namespace && !namespace.is_empty();
    let expected = if is_used { namespace.as_str() } else { "OomWitness" };
    assert_eq!(config.source("").namespace, expected);

    // Datadog's variables: the first invalid one, if there is a key.
    let (has_datadog, wrong) = datadog(&vars);
    let sinks = text("OOM_WITNESS_SINKS");
    let named: Vec<&str> =
        sinks.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let is_sink = |name: &&str| *name == "emf" || *name == "datadog" && has_datadog;
    check("OOM_WITNESS_SINKS", named.iter().all(is_sink));
    let mut expected: Vec<&str> = named.into_iter().filter(is_sink).collect();
    let is_off = vars.bytes("OOM_WITNESS_EXTENSIONS").as_deref() == Some(b"off");
    let left = expected.is_empty() && has_datadog && is_beside && !is_off;
    assert_eq!(config.left_to_other.is_some(), left);
    if expected.is_empty() {
        expected.push(if has_datadog && !left { "datadog" } else { "emf" });
    }
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(config.sinks.iter().map(Sink::name).collect::<Vec<_>>(), expected);
    let sends = expected.contains(&"datadog");
    for name in ["DD_API_KEY", "DD_DD_URL", "DD_URL", "DD_SITE"] {
        // An http address may lead to another machine.
        let may_be_exposed = sends && text(name).starts_with("http:");
        let expected = usize::from(wrong == Some(name));
        assert!(count(name) == expected || may_be_exposed, "{name}={:?}", text(name));
    }

    let api = vars.bytes("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let api = Some(String::from_utf8_lossy(&api).trim().to_owned()).filter(|api| !api.is_empty());
    assert_eq!(config.runtime_api, api);
    let managed = text("AWS_LAMBDA_INITIALIZATION_TYPE") == "lambda-managed-instances";
    assert_eq!(config.is_managed_instances(), managed);
    assert!(!managed || !config.has_own_machine());
    assert_eq!(config.settings().suspected, config.suspected);
    let short = |name: &'static str, max: usize| {
        let fits = format::escaped_size(&text(name)) <= max;
        check(name, fits);
        if fits { text(name) } else { String::new() }
    };
    assert_eq!(config.region, short("AWS_REGION", 32));
    assert_eq!(config.memory_size_mb, short("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 32));
    assert_eq!(config.function_name, short("AWS_LAMBDA_FUNCTION_NAME", 140));
    assert_eq!(config.settings().memory_size_mb, number(&config.memory_size_mb));
    let (mut size, mut kept) = (0, Vec::new());
    let tags = text("DD_TAGS");
    let is_tag = |tag: &&str| tag.find(':').is_some_and(|at| at > 0 && at + 1 < tag.len());
    for tag in tags.split([',', ' ']).filter(is_tag) {
        let with_it = size + format::escaped_size(tag) + 3;
        if with_it <= 1024 && kept.len() < 75 {
            size = with_it;
            kept.push(tag);
        }
    }
    assert_eq!(config.tags.list.split([',', ' ']).filter(is_tag).collect::<Vec<_>>(), kept);
    let tags = &config.tags;
    for (value, name, max) in [(&tags.env, "DD_ENV", 200), (&tags.service, "DD_SERVICE", 200)] {
        assert!(text(name).starts_with(value.as_str()));
        assert!(format::escaped_size(value) <= max);
        assert!(value.len() == text(name).len() || format::escaped_size(&text(name)) > max);
    }
});

/// The variables of an environment; of two with one name the first.
struct Vars(BTreeMap<Vec<u8>, Vec<u8>>);

impl Vars {
    fn of(environ: &[u8]) -> Self {
        let mut vars = BTreeMap::new();
        for line in environ.split(|byte| *byte == 0) {
            if let Some(at) = line.iter().position(|byte| *byte == b'=') {
                vars.entry(line[..at].to_vec()).or_insert_with(|| line[at + 1..].to_vec());
            }
        }
        Self(vars)
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.0.get(name.as_bytes()).cloned()
    }

    /// False for a value that is not UTF-8.
    fn is_text(&self, name: &str) -> bool {
        self.bytes(name).is_none_or(|bytes| String::from_utf8(bytes).is_ok())
    }

    /// The text without the blanks around it. Empty if it is not set, or not UTF-8.
    fn text(&self, name: &str) -> String {
        let text = self.bytes(name).and_then(|bytes| String::from_utf8(bytes).ok());
        text.unwrap_or_default().trim().to_owned()
    }
}

/// Digits, perhaps after a plus sign, within 32 bits.
fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|char| char.is_ascii_digit()) {
        return None;
    }
    let add = |sum: u32, char: char| sum.checked_mul(10)?.checked_add(char.to_digit(10)?);
    digits.chars().try_fold(0, add)
}

fn port(text: &str) -> Option<u16> {
    number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| ![0, 9001].contains(port))
}

/// Whether Datadog is configured, and the invalid variable.
fn datadog(vars: &Vars) -> (bool, Option<&'static str>) {
    let key = vars.text("DD_API_KEY");
    if !vars.is_text("DD_API_KEY") {
        return (false, Some("DD_API_KEY"));
    }
    if key.is_empty() {
        return (false, None);
    }
    let is_host = |host: &str| {
        let allowed = |char: char| char.is_ascii_alphanumeric() || ".-_:[]".contains(char);
        !host.is_empty() && host.chars().all(allowed)
    };
    let is_url = |url: &str| {
        let (scheme, host) = url.split_once("://").unwrap_or_default();
        ["http", "https"].contains(&scheme) && is_host(host.strip_suffix('/').unwrap_or(host))
    };
    if !key.chars().all(|char| ('!'..='~').contains(&char)) {
        return (false, Some("DD_API_KEY"));
    }
    for name in ["DD_DD_URL", "DD_URL"] {
        let url = vars.text(name);
        if !vars.is_text(name) {
            return (false, Some(name));
        }
        if !url.is_empty() {
            return if is_url(&url) { (true, None) } else { (false, Some(name)) };
        }
    }
    let site = vars.text("DD_SITE");
    if !vars.is_text("DD_SITE") {
        return (false, Some("DD_SITE"));
    }
    if site.is_empty() || is_host(&site) { (true, None) } else { (false, Some("DD_SITE")) }
}
