//! `oom-witness --check`: what the variables mean, and whether each sink takes a metric.
//!
//! In: the environment, as it is in the function's. Out: a text for a human on stdout, and an exit
//! code for a script. No secret is printed. With `--send`, each sink gets a count of 0 under the
//! name of the real metric: it is seen where detections will be seen, and sets off no alarm.

use std::path::Path;
use std::time::Instant;
use std::{env, io};

use oom_witness_core::{
    Confidence, Detection, DetectionKind, EvidenceSet, METRIC_NAME, Metric, StartKind, Status,
    Subject, Suspected,
};

use crate::clock::now_ms;
use crate::config::{Config, Warnings};
#[cfg(feature = "network")]
use crate::delivery::outbox::BODY_SIZE;
#[cfg(feature = "network")]
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Sink, SinkUse};
#[cfg(feature = "network")]
use crate::delivery::{
    certificates, key_source::KeySource, proxy, running_send::RunningSend, sink::RequestContext,
};
use crate::error::FAILURE;
#[cfg(feature = "network")]
use crate::event_loop::{KEY_SEND_MAX, SEND_MAX};
use crate::help::rows;
#[cfg(feature = "network")]
use crate::sys;
use crate::variable::{Shows, Variables, Warning, text};

/// The exit code if a sink has not taken the test metric.
const NOT_TAKEN: u8 = 3;

/// Prints what the variables mean. If it `sends`, also sends the test metric to each sink.
#[cold]
#[inline(never)]
pub(crate) fn run(sends: bool) -> u8 {
    #[cfg(feature = "network")]
    sys::heap::leave_to_libc();
    let get = |name: &str| env::var_os(name);
    let mut warnings = Warnings::new();
    let config = Config::from_vars(&get, &Path::exists, &mut warnings);
    println!("oom-witness {}\n", env!("CARGO_PKG_VERSION"));
    print_variables(&get, &warnings);
    print_settings(&config);
    let is_usable = print_sinks(&config, &get);
    if sends && !send_to_all(&config) {
        NOT_TAKEN
    } else if !warnings.is_empty() || !is_usable {
        FAILURE
    } else {
        0
    }
}

/// Prints each variable that is set, and what is wrong with it.
fn print_variables(get: Variables<'_>, warnings: &[Warning]) {
    println!("Variables that are set:");
    let mut count = 0;
    for row in rows() {
        for name in row.names {
            let Some(value) = get(name).filter(|value| !value.is_empty()) else { continue };
            count += 1;
            println!("    {name} = {}", shown(&value.to_string_lossy(), row.shows));
        }
    }
    if count == 0 {
        println!("    none");
    }
    if !warnings.is_empty() {
        println!("\nWarnings:");
        warnings.iter().for_each(|warning| println!("    {warning}"));
    }
}

/// What may be printed of a value, on one line.
fn shown(value: &str, shows: Shows) -> String {
    let value: String =
        value.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
    let (scheme, rest) = value.split_once("://").unwrap_or(("", &value));
    match (shows, rest.rsplit_once('@')) {
        (Shows::Length, _) => format!("(hidden, length {})", value.len()),
        (Shows::Address, Some((_, place))) if scheme.is_empty() => format!("(hidden)@{place}"),
        (Shows::Address, Some((_, place))) => format!("{scheme}://(hidden)@{place}"),
        _ => value,
    }
}

/// Prints what does not depend on a sink.
fn print_settings(config: &Config) {
    let source = config.source("");
    println!("\nSettings:");
    match &config.runtime_api {
        Some(_) => println!("    function: {}", source.function_name),
        None => println!("    function: none, since this is not Lambda"),
    }
    let lines = if config.logs { "with" } else { "without" };
    println!("    telemetry: on port {}, {lines} the function's log lines", config.port);
    println!("    own log lines: {}", config.level.as_str().to_ascii_lowercase());
    let suspected = match config.suspected {
        Suspected::Count => "count",
        Suspected::Once => "once",
        Suspected::Ignore => "ignore",
    };
    println!("    suspected detections: {suspected}");
    match config.high_water_percent {
        Some(percent) => println!("    warning: from {percent} % of the memory's limit"),
        None => println!("    warning: off"),
    }
    println!("    namespace of emf: {}", config.sink_settings.namespace());
    println!("    state: {}", Path::new(&config.state).display());
    for (name, place) in [("cgroup", &config.cgroup), ("vmstat", &config.vmstat)] {
        let place = place.as_ref().map_or("off".into(), |place| place.display().to_string());
        println!("    {name}: {place}");
    }
}

/// Prints which sinks are used, and why. False if a sink that is used cannot work.
fn print_sinks(config: &Config, get: Variables<'_>) -> bool {
    println!("\nSinks:");
    let named = text(get, "OOM_WITNESS_SINKS").unwrap_or_default();
    let mut named = named.split(',').filter_map(|name| Sink::named(name.trim()));
    let is_named = named.any(|sink| config.sinks.contains(sink));
    let mut is_usable = true;
    for sink in Sink::ALL.iter().copied() {
        let name = sink.name();
        if config.sinks.contains(sink) {
            println!("    {name}: used, since {}", why_used(sink, is_named, get));
            is_usable &= print_destination(sink, config, get);
        } else {
            println!("    {name}: not used, since {}", why_not(sink, config, is_named, get));
        }
    }
    is_usable
}

fn why_used(sink: Sink, is_named: bool, get: Variables<'_>) -> &'static str {
    if is_named {
        "OOM_WITNESS_SINKS names it"
    } else if sink.usable(get) == Ok(SinkUse::Configured) {
        "its variables are set"
    } else if sink.receiver().is_some() {
        "the extension that it writes to is here"
    } else {
        "no other sink is configured"
    }
}

fn why_not(sink: Sink, config: &Config, is_named: bool, get: Variables<'_>) -> String {
    match sink.usable(get) {
        Err(invalid) => format!("{} has to be {}", invalid.name, invalid.takes),
        Ok(SinkUse::Unusable) => "a variable that it needs is not set".into(),
        Ok(_) if config.left_to_other == Some(sink) => {
            "its own extension is here and counts the same metric".into()
        }
        Ok(_) if is_named => "OOM_WITNESS_SINKS does not name it".into(),
        Ok(_) => "nothing asks for it".into(),
    }
}

/// Prints where the metrics of a sink go. False if they cannot go there.
#[cfg(feature = "network")]
fn print_destination(sink: Sink, config: &Config, get: Variables<'_>) -> bool {
    let request = match sink.request(get) {
        Ok(Some(request)) => request,
        Ok(None) => {
            print_direct(sink, config);
            return true;
        }
        Err(invalid) => {
            println!("        {} has to be {}", invalid.name, invalid.takes);
            return false;
        }
    };
    println!("        POST {}", shown(&request.url, Shows::Address));
    for (name, _) in &request.headers {
        println!("        header {name}");
    }
    if let Some(KeySource { variable, store, .. }) = &request.key {
        println!("        headers from {variable}, by {}:{}", store.service(), store.action());
    }
    match proxy::from_vars(get, &request.url, &mut |_| {}) {
        Some(proxy) => println!("        through {}", shown(&proxy, Shows::Address)),
        None => println!("        without a proxy"),
    }
    match certificates::from_vars(get, request.certificates) {
        Ok(None) => println!("        root certificates: Mozilla's"),
        Ok(Some((name, _))) => println!("        root certificates: {name}"),
        Err(text) => {
            println!("        {text}");
            return false;
        }
    }
    true
}

#[cfg(not(feature = "network"))]
fn print_destination(sink: Sink, config: &Config, _: Variables<'_>) -> bool {
    print_direct(sink, config);
    true
}

fn print_direct(sink: Sink, config: &Config) {
    match sink.address(&config.sink_settings) {
        Some(address) => println!("        datagrams to {address}"),
        None => println!("        lines on {}", sink.place()),
    }
}

/// Sends the test metric to each sink, and prints what came of it. False if one has not taken it.
fn send_to_all(config: &Config) -> bool {
    println!("\nTest metric, 0 of {METRIC_NAME}:");
    let mut all = true;
    for sink in config.sinks.iter() {
        let begin = Instant::now();
        let result = send(sink, config);
        let took = begin.elapsed().as_millis();
        all &= result.is_ok();
        match result {
            Ok(()) => println!("    {}: taken, in {took} ms", sink.name()),
            Err(why) => println!("    {}: not taken, in {took} ms: {why}", sink.name()),
        }
    }
    all
}

fn send(sink: Sink, config: &Config) -> Result<(), String> {
    let test = Detection {
        kind: DetectionKind::OutOfMemory,
        subject: Subject::Environment,
        evidence: EvidenceSet::EMPTY,
        confidence: Confidence::Confirmed,
        status: Status::Unknown,
        time_ms: now_ms(),
        memory_size_mb: config.settings().memory_size_mb,
        max_memory_used_mb: None,
        start: StartKind::Unknown,
        count: 0,
    };
    let source = config.source("");
    let metric = Metric::new(&test, &source);
    #[cfg(feature = "network")]
    if sink.is_network() {
        return send_by_child(sink, metric, config);
    }
    let written = sink.write(&metric, &config.sink_settings);
    written.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => error.to_string(),
    })
}

/// Sends as the extension does: a child gets the body, and has as long as it has in Lambda.
#[cfg(feature = "network")]
fn send_by_child(sink: Sink, metric: Metric<'_>, config: &Config) -> Result<(), String> {
    let mut buffer = [0; BODY_SIZE];
    let context = RequestContext {
        source: metric.source,
        settings: &config.sink_settings,
        now_ms: now_ms(),
        start_ms: now_ms(),
        environment: 0,
        before: Default::default(),
    };
    let length = sink.body(&mut [metric], &context, &mut buffer).map_err(|_| "it is too long")?;
    let body = buffer.get(..length).unwrap_or_default();
    let child = sys::spawn(&[c"oom-witness", c"send", sink.c_name()], body);
    let sending = RunningSend::new(sink, child.map_err(|error| error.to_string())?);
    let limit = if config.key_sinks.contains(sink) { KEY_SEND_MAX } else { SEND_MAX };
    match sending.wait(Instant::now() + limit) {
        Some(SendResult::Taken) => Ok(()),
        Some(SendResult::Unknown) => Err("it may have it; the line before this says why".into()),
        Some(_) => Err("the line before this says why".into()),
        None => Err("it took too long: the extension would end it too".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_secret_nor_a_password_is_shown() {
        for (value, shows, expected) in [
            ("datadoghq.eu", Shows::All, "datadoghq.eu"),
            ("a\nb\u{1b}[1m", Shows::All, "a?b?[1m"),
            ("the-key", Shows::Length, "(hidden, length 7)"),
            ("https://a@b", Shows::Length, "(hidden, length 11)"),
            ("http://proxy:3128", Shows::Address, "http://proxy:3128"),
            ("http://us:pa@ss@proxy:3128", Shows::Address, "http://(hidden)@proxy:3128"),
            ("us:pass@proxy:3128", Shows::Address, "(hidden)@proxy:3128"),
        ] {
            assert_eq!(shown(value, shows), expected, "{value}");
        }
    }
}
