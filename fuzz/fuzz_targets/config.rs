//! Variables: any bytes in any of them give a value or the default, and at most one warning for
//! each. The input has the form of /proc/self/environ.
#![no_main]

include!("../agent.rs");

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;

use config::{Config, Warnings};
use delivery::sink::{Sink, SinkUse};
use libfuzzer_sys::fuzz_target;
use log::LevelFilter;
use oom_witness_core::{Suspected, format};

fuzz_target!(|data: &[u8]| {
    let vars = Vars::of(data);
    let is_beside = vars.bytes("BESIDE").is_some();
    let mut warnings = Warnings::new();
    let get = |name: &str| vars.bytes(name).map(OsString::from_vec);
    let config = Config::from_vars(&get, &|_| is_beside, &mut warnings);
    let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let warned: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    let reading = Reading { vars: &vars, config: &config, warned: &warned };
    assert!(warned.iter().all(|name| reading.warnings(name) == 1), "{warned:?}");
    reading.check_listening();
    reading.check_counting();
    reading.check_sinks(is_beside);
    reading.check_lambdas_variables();
    reading.check_tags();
});

/// Variables, and what the agent has read from them.
struct Reading<'a> {
    vars: &'a Vars,
    config: &'a Config,
    /// The names of the variables with a warning.
    warned: &'a [&'a str],
}

impl Reading<'_> {
    fn text(&self, name: &str) -> String {
        self.vars.text(name)
    }

    /// How many warnings a variable has.
    fn warnings(&self, name: &str) -> usize {
        self.warned.iter().filter(|warned| **warned == name).count()
    }

    /// Checks that a variable has a warning if it is set to a value that the agent cannot use.
    fn check_warning(&self, name: &'static str, is_usable: bool) {
        let text = self.text(name);
        let is_wrong = !self.vars.is_text(name) || !text.is_empty() && !is_usable;
        assert_eq!(self.warnings(name), usize::from(is_wrong), "{name}={text:?}");
    }

    fn check_listening(&self) {
        let port = port(&self.text("OOM_WITNESS_PORT"));
        self.check_warning("OOM_WITNESS_PORT", port.is_some());
        assert_eq!(self.config.port, port.unwrap_or(6161));

        let logs = self.text("OOM_WITNESS_LOGS");
        self.check_warning("OOM_WITNESS_LOGS", ["on", "off"].contains(&logs.as_str()));
        assert_eq!(self.config.logs, logs != "off");

        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let level = self.text("OOM_WITNESS_LOG").to_ascii_lowercase();
        let level = levels.iter().position(|name| *name == level);
        self.check_warning("OOM_WITNESS_LOG", level.is_some());
        let expected = LevelFilter::iter().nth(level.unwrap_or(3)).expect("as many levels");
        assert_eq!(self.config.level, expected);
    }

    fn check_counting(&self) {
        let suspected = match self.text("OOM_WITNESS_SUSPECTED").as_str() {
            "count" => Some(Suspected::Count),
            "once" => Some(Suspected::Once),
            "ignore" => Some(Suspected::Ignore),
            _ => None,
        };
        self.check_warning("OOM_WITNESS_SUSPECTED", suspected.is_some());
        assert_eq!(self.config.suspected, suspected.unwrap_or_default());
        assert_eq!(self.config.settings().suspected, self.config.suspected);

        let share = self.text("OOM_WITNESS_HIGH_WATER");
        let percent = number(share.strip_suffix('%').unwrap_or(&share));
        let percent = percent.filter(|percent| (1..=99).contains(percent));
        self.check_warning("OOM_WITNESS_HIGH_WATER", percent.is_some());
        assert_eq!(self.config.settings().high_water_percent.map(u32::from), percent);

        let namespace = self.text("OOM_WITNESS_NAMESPACE");
        let is_allowed = |char: char| char.is_ascii_alphanumeric() || ".-_/#: ".contains(char);
        let is_usable = namespace.len() <= 256
            && !namespace.starts_with(':')
            && namespace.chars().all(is_allowed);
        let emf = self.config.sinks.contains(Sink::Emf);
        self.check_warning("OOM_WITNESS_NAMESPACE", is_usable || !emf);
        let is_used = is_usable && !namespace.is_empty();
        let expected = if is_used { namespace.as_str() } else { "OomWitness" };
        assert_eq!(self.config.sink_settings.namespace(), expected);
    }

    /// `is_beside`: Datadog's own extension is there.
    fn check_sinks(&self, is_beside: bool) {
        let (has_datadog, wrong) = datadog(self.vars);
        let otlp = otlp(self.vars);
        let sinks = self.text("OOM_WITNESS_SINKS");
        let named: Vec<&str> =
            sinks.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let is_sink = |name: &&str| match *name {
            "emf" | "dogstatsd" | "statsd" => true,
            "datadog" => has_datadog,
            "otlp" => otlp.is_ok(),
            _ => false,
        };
        self.check_warning("OOM_WITNESS_SINKS", named.iter().all(is_sink));
        let mut expected: Vec<&str> = named.into_iter().filter(is_sink).collect();
        let is_off = self.vars.bytes("OOM_WITNESS_EXTENSIONS").as_deref() == Some(b"off");
        let is_beside = is_beside && !is_off;
        let is_left = expected.is_empty() && has_datadog && is_beside;
        assert_eq!(self.config.left_to_other.is_some(), is_left);
        if expected.is_empty() {
            expected.extend(is_beside.then_some("dogstatsd"));
            expected.extend((has_datadog && !is_beside).then_some("datadog"));
            expected.extend((otlp == Ok(true)).then_some("otlp"));
        }
        if expected.is_empty() {
            expected.push("emf");
        }
        let expected: BTreeSet<&str> = expected.into_iter().collect();
        assert_eq!(self.config.sinks.iter().map(Sink::name).collect::<BTreeSet<_>>(), expected);
        let receivers = self.config.sink_settings.receivers;
        for (sink, [host, port], receiver) in [
            ("dogstatsd", ["DD_AGENT_HOST", "DD_DOGSTATSD_PORT"], receivers.dogstatsd),
            ("statsd", ["STATSD_HOST", "STATSD_PORT"], receivers.statsd),
        ] {
            let is_used = expected.contains(sink);
            let address = match self.text(host).as_str() {
                "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
                host => host.parse().ok(),
            };
            let number = self.text(port).parse().ok().filter(|port: &u16| *port > 0);
            self.check_receiver_warning(host, is_used, address.is_some());
            self.check_receiver_warning(port, is_used, number.is_some());
            assert_eq!(receiver.ip(), address.unwrap_or([127, 0, 0, 1].into()));
            assert_eq!(receiver.port(), number.unwrap_or(8125));
        }
        if let Err(name) = otlp {
            assert!(self.warnings(name) == 1, "{name}={:?}", self.text(name));
        }
        let sends = expected.contains("datadog");
        self.check_keys(sends, expected.contains("otlp"));
        for name in [
            "DD_API_KEY",
            "DD_API_KEY_SECRET_ARN",
            "DD_KMS_API_KEY",
            "DD_API_KEY_SSM_ARN",
            "DD_DD_URL",
            "DD_URL",
            "DD_SITE",
        ] {
            // An http address may lead to another machine.
            let may_be_exposed = sends && self.text(name).starts_with("http:");
            let is_expected = self.warnings(name) == usize::from(wrong == Some(name));
            assert!(is_expected || may_be_exposed, "{name}={:?}", self.text(name));
        }
    }

    /// Checks which sinks fetch a key first. Each flag says whether the sink is used.
    fn check_keys(&self, uses_datadog: bool, uses_otlp: bool) {
        let datadogs = key_store(self.vars).ok().flatten().filter(|_| uses_datadog);
        let otlps = headers_store(self.vars).filter(|_| uses_otlp);
        let with_key = [("datadog", datadogs), ("otlp", otlps)];
        let with_key = with_key.iter().filter(|(_, store)| store.is_some());
        assert_eq!(
            self.config.key_sinks.iter().map(Sink::name).collect::<BTreeSet<_>>(),
            with_key.map(|(sink, _)| *sink).collect::<BTreeSet<_>>()
        );
        self.check_endpoints([datadogs, otlps]);
    }

    /// Checks the warnings of the variables that say where the keys in these stores are fetched.
    fn check_endpoints(&self, stores: [Option<&str>; 2]) {
        // The stores for which a variable is read.
        let mut reads: BTreeSet<&str> = stores.into_iter().flatten().collect();
        for (name, of) in [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", Some("secretsmanager")),
            ("AWS_ENDPOINT_URL_SSM", Some("ssm")),
            ("AWS_ENDPOINT_URL_KMS", Some("kms")),
            ("AWS_ENDPOINT_URL", None),
        ] {
            let url = self.text(name);
            let is_read = of.map_or(!reads.is_empty(), |store| reads.contains(store));
            let is_wrong = !self.vars.is_text(name) || !url.is_empty() && !is_url(&url);
            let may_be_exposed = is_read && !is_wrong && url.starts_with("http:");
            let warnings = self.warnings(name);
            assert!(warnings == usize::from(is_read && is_wrong) || may_be_exposed, "{name}={url}");
            if is_read && !is_wrong && !url.is_empty() {
                reads.retain(|store| of.is_some_and(|of| *store != of));
            }
        }
        let fips = self.text("AWS_USE_FIPS_ENDPOINT").to_ascii_lowercase();
        let is_wrong = !["", "true", "false"].contains(&fips.as_str())
            || !self.vars.is_text("AWS_USE_FIPS_ENDPOINT");
        let is_read = !reads.is_empty();
        assert_eq!(self.warnings("AWS_USE_FIPS_ENDPOINT"), usize::from(is_read && is_wrong));
    }

    /// Checks that a variable has a warning if it is not text, or if its sink is used and the value
    /// makes no sense.
    fn check_receiver_warning(&self, name: &'static str, is_used: bool, is_usable: bool) {
        self.check_warning(name, is_usable || !is_used);
    }

    fn check_lambdas_variables(&self) {
        let config = self.config;
        let api = self.vars.bytes("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
        let api = String::from_utf8_lossy(&api).trim().to_owned();
        assert_eq!(config.runtime_api, Some(api).filter(|api| !api.is_empty()));
        let managed = self.text("AWS_LAMBDA_INITIALIZATION_TYPE") == "lambda-managed-instances";
        assert_eq!(config.is_managed_instances(), managed);
        assert!(!managed || !config.has_own_machine());
        assert_eq!(config.region, self.short_text("AWS_REGION", 32));
        assert_eq!(config.memory_size_mb, self.short_text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 32));
        assert_eq!(config.function_name, self.short_text("AWS_LAMBDA_FUNCTION_NAME", 140));
        assert_eq!(config.settings().memory_size_mb, number(&config.memory_size_mb));
    }

    /// The value of a variable, or nothing and a warning if it takes more than `max` bytes.
    fn short_text(&self, name: &'static str, max: usize) -> String {
        let fits = format::escaped_size(&self.text(name)) <= max;
        self.check_warning(name, fits);
        if fits { self.text(name) } else { String::new() }
    }

    fn check_tags(&self) {
        let config = self.config;
        let (mut size, mut kept) = (0, Vec::new());
        let tags = self.text("DD_TAGS");
        let is_tag = |tag: &&str| tag.find(':').is_some_and(|at| at > 0 && at + 1 < tag.len());
        for tag in tags.split([',', ' ']).filter(is_tag) {
            let with_it = size + format::escaped_size(tag) + 3;
            if with_it <= 1024 && kept.len() < 75 {
                size = with_it;
                kept.push(tag);
            }
        }
        assert_eq!(
            config.sink_settings.datadog.tags.split([',', ' ']).filter(is_tag).collect::<Vec<_>>(),
            kept
        );
        for (value, name) in [
            (&config.sink_settings.datadog.env, "DD_ENV"),
            (&config.sink_settings.datadog.service, "DD_SERVICE"),
        ] {
            let text = self.text(name);
            assert!(text.starts_with(value.as_str()));
            assert!(format::escaped_size(value) <= 200);
            assert!(value.len() == text.len() || format::escaped_size(&text) > 200);
        }
    }
}

/// The variables of an environment. Of two with the same name, the first counts.
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

fn is_host(host: &str) -> bool {
    let allowed = |char: char| char.is_ascii_alphanumeric() || ".-_:[]".contains(char);
    !host.is_empty() && host.chars().all(allowed)
}

fn is_url(url: &str) -> bool {
    let (scheme, host) = url.split_once("://").unwrap_or_default();
    ["http", "https"].contains(&scheme) && is_host(host.strip_suffix('/').unwrap_or(host))
}

/// The service that has Datadog's key, if one has it. An error is the variable that is invalid.
fn key_store(vars: &Vars) -> Result<Option<&'static str>, &'static str> {
    for (name, service, kind) in [
        ("DD_KMS_API_KEY", "kms", ""),
        ("DD_API_KEY_SECRET_ARN", "secretsmanager", "secret:"),
        ("DD_API_KEY_SSM_ARN", "ssm", "parameter/"),
    ] {
        let text = vars.text(name);
        if text.is_empty() && vars.is_text(name) {
            continue;
        }
        let is_place =
            if service == "kms" { is_base64(&text) } else { is_arn(&text, service, kind) };
        return if is_place && vars.is_text(name) { Ok(Some(service)) } else { Err(name) };
    }
    Ok(None)
}

/// The service that has OTLP's headers, if the variable names one.
fn headers_store(vars: &Vars) -> Option<&'static str> {
    let text = vars.text("OOM_WITNESS_OTLP_HEADERS_SECRET_ARN");
    let stores = [("secretsmanager", "secret:"), ("ssm", "parameter/")];
    let store = stores.into_iter().find(|(service, kind)| is_arn(&text, service, kind));
    store.map(|(service, _)| service)
}

fn is_arn(text: &str, service: &str, kind: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, of, region, account, resource] = parts[..] else { return false };
    let is_word = |text: &str| {
        let is_char = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '-');
        !text.is_empty() && text.chars().all(is_char)
    };
    let is_char = |char: char| char.is_ascii_alphanumeric() || "/_+=.@-:".contains(char);
    text.len() <= 2048
        && of == service
        && [partition, region, account].into_iter().all(is_word)
        && resource.len() > kind.len()
        && resource.starts_with(kind)
        && resource[kind.len()..].chars().all(is_char)
}

fn is_base64(text: &str) -> bool {
    let is_char = |char: char| char.is_ascii_alphanumeric() || "+/".contains(char);
    let digits = text.strip_suffix('=').unwrap_or(text);
    let digits = digits.strip_suffix('=').unwrap_or(digits);
    !digits.is_empty() && text.len() <= 8192 && text.len() % 4 == 0 && digits.chars().all(is_char)
}

/// Whether OTLP is configured by an endpoint, or the variable that is invalid. An address is only
/// looked at roughly.
fn otlp(vars: &Vars) -> Result<bool, &'static str> {
    let first = |names: [&'static str; 2]| {
        for name in names {
            if !vars.is_text(name) {
                return Err(name);
            }
            let text = vars.text(name);
            if !text.is_empty() {
                return Ok((name, text));
            }
        }
        Ok((names[1], String::new()))
    };
    let (name, protocol) =
        first(["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])?;
    if !["", "http/protobuf", "http/json"].contains(&protocol.as_str()) {
        return Err(name);
    }
    // The rules of headers and of addresses have unit tests.
    let get = |name: &str| vars.bytes(name).map(OsString::from_vec);
    match (Sink::Otlp.request(&get), Sink::Otlp.usable(&get)) {
        (Ok(Some(request)), Ok(usable)) => {
            assert!(request.url.starts_with("http://") || request.url.starts_with("https://"));
            let (_, endpoint) =
                first(["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])?;
            assert!(!endpoint.is_empty() || usable == SinkUse::IfNamed);
            Ok(usable == SinkUse::Configured)
        }
        (request, Err(invalid)) => {
            // A variable that only decides whether the sink is used is no matter of a request.
            assert!(request.is_err() || invalid.takes == "text in UTF-8");
            Err(invalid.name)
        }
        (request, usable) => panic!("{request:?}, but {usable:?}"),
    }
}

/// True if Datadog is configured, and the variable that is invalid.
fn datadog(vars: &Vars) -> (bool, Option<&'static str>) {
    let store = match key_store(vars) {
        Ok(store) => store,
        Err(name) => return (false, Some(name)),
    };
    let key = vars.text("DD_API_KEY");
    if store.is_none() {
        if !vars.is_text("DD_API_KEY") {
            return (false, Some("DD_API_KEY"));
        }
        if key.is_empty() {
            return (false, None);
        }
        if !key.chars().all(|char| ('!'..='~').contains(&char)) {
            return (false, Some("DD_API_KEY"));
        }
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
