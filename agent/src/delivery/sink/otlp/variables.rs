//! OpenTelemetry's variables for an OTLP exporter: where requests go, and with which headers.
//!
//! Most variables have two names. The one with `METRICS` in it is for metrics alone, and wins.

use std::borrow::Cow;
use std::time::Duration;

use oom_witness_core::format::pairs::{are_pairs, encoded_pairs};

use crate::delivery::key_source::{Headers, KeyForm, KeySource, KeyStore};
use crate::delivery::proxy;
use crate::delivery::sink::SinkRequest;
use crate::variable::{InvalidVariable, Variables, Warning, text};

const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// Variables of other exporters that are not supported, and what happens instead.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", UNCOMPRESSED),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", UNCOMPRESSED),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", NO_CLIENT_CERTIFICATE),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", NO_CLIENT_CERTIFICATE),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", NO_CLIENT_CERTIFICATE),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", NO_CLIENT_CERTIFICATE),
];

const UNCOMPRESSED: &str = "is not used: a body of at most 4,000 bytes is sent as it is";
const NO_CLIENT_CERTIFICATE: &str =
    "is not used: oom-witness has no client certificates, so such a server refuses its requests";

/// Where requests go.
pub(super) struct Endpoint {
    pub(super) url: String,
    /// No variable names an endpoint.
    pub(super) is_default: bool,
    /// The variable that names it.
    pub(super) name: &'static str,
}

/// Where requests go. The general variable names the beginning of the address, and the other one
/// the whole address.
pub(super) fn endpoint(get: Variables<'_>) -> Result<Endpoint, InvalidVariable> {
    let (name, url) = first(get, ENDPOINT)?;
    if url.is_empty() {
        let url = "http://localhost:4318/v1/metrics".to_owned();
        return Ok(Endpoint { url, is_default: true, name });
    }
    if !is_url(&url) {
        return Err(InvalidVariable { name, takes: "an http or https address" });
    }
    // A gRPC receiver understands no HTTP request. It listens on this port by default.
    let (_, protocol) = first(get, PROTOCOL)?;
    if protocol.is_empty() && is_port(&url, "4317") {
        let takes = "the address of an OTLP/HTTP receiver (by default on port 4318, while 4317 is for \
                     grpc; OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf allows it)";
        return Err(InvalidVariable { name, takes });
    }
    let is_whole = name == ENDPOINT[0];
    let url = if is_whole { url } else { [url.trim_end_matches('/'), "/v1/metrics"].concat() };
    Ok(Endpoint { url, is_default: false, name })
}

/// Names and values, decoded.
pub(super) fn headers(get: Variables<'_>) -> Result<Headers, InvalidVariable> {
    let (name, text) = first(get, HEADERS)?;
    read_headers(&text).ok_or(InvalidVariable { name, takes: TAKES_HEADERS })
}

/// Where further headers are, if the variable names a place. They replace headers of the same name.
pub(super) fn headers_source(get: Variables<'_>) -> Result<Option<KeySource>, InvalidVariable> {
    let stores = [KeyStore::SecretsManager, KeyStore::Ssm];
    KeySource::from_var(get, "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN", &stores, HEADERS_FORM)
}

const TAKES_HEADERS: &str = "name=value pairs with commas between them and % escapes";

/// A secret without headers is a mistake, unlike a variable without them.
const HEADERS_FORM: KeyForm = KeyForm {
    names: &[],
    takes: TAKES_HEADERS,
    headers: |text| read_headers(text).filter(|headers| !headers.is_empty()),
};

/// The headers in a text. `None` if it is no list of headers, or one of them is the request's own.
fn read_headers(text: &str) -> Option<Headers> {
    const OURS: [&str; 4] = ["content-length", "content-type", "host", "transfer-encoding"];
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        name.bytes().all(allowed) && !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
    };
    let is_value = |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let decode = |text| String::from_utf8(Iterator::collect(text)).ok();
    let pair = |(name, value)| {
        let (name, value): (String, String) = (decode(name)?, decode(value)?);
        (is_name(&name) && is_value(&value)).then_some((Cow::Owned(name), value))
    };
    if are_pairs(text) { encoded_pairs(text).map(pair).collect() } else { None }
}

/// Checks the protocol. Bodies are binary protobuf, which every OTLP/HTTP receiver takes.
pub(super) fn protocol(get: Variables<'_>) -> Result<(), InvalidVariable> {
    let (name, text) = first(get, PROTOCOL)?;
    let takes = "http/protobuf, since oom-witness does not speak grpc; \
                 OTEL_EXPORTER_OTLP_METRICS_PROTOCOL sets it for metrics alone";
    match text.as_str() {
        "" | "http/protobuf" | "http/json" => Ok(()),
        _ => Err(InvalidVariable { name, takes }),
    }
}

/// The longest time for an answer, if the user sets one. The agent gives about a second anyway.
pub(super) fn timeout(get: Variables<'_>) -> Result<Option<Duration>, InvalidVariable> {
    let (name, text) = first(get, TIMEOUT)?;
    if text.is_empty() {
        return Ok(None);
    }
    let ms = text.parse().ok().filter(|ms| *ms > 0);
    let ms = ms.ok_or(InvalidVariable { name, takes: "a number of milliseconds" })?;
    Ok(Some(Duration::from_millis(ms)))
}

/// False if the user has turned OpenTelemetry off, or names other exporters of metrics than OTLP.
pub(super) fn is_metrics_exporter(get: Variables<'_>) -> Result<bool, InvalidVariable> {
    let is_off = text(get, "OTEL_SDK_DISABLED")?.eq_ignore_ascii_case("true");
    let exporters = text(get, "OTEL_METRICS_EXPORTER")?;
    let is_named = exporters.split(',').any(|name| name.trim() == "otlp");
    Ok(!is_off && (exporters.is_empty() || is_named))
}

/// True if an address names this port.
fn is_port(url: &str, port: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    place.rsplit_once(':').is_some_and(|(_, number)| number == port)
}

/// Warns of variables that will not do what the user may expect.
pub(super) fn check(get: Variables<'_>, warn: &mut dyn FnMut(Warning)) {
    if let Ok((name, text)) = first(get, PROTOCOL)
        && text == "http/json"
    {
        warn(Warning::Used { name, but: "is http/json, but bodies are binary protobuf" });
    }
    for (name, but) in UNSUPPORTED {
        let value = text(get, name).unwrap_or_default();
        if !value.is_empty() && value != "none" {
            warn(Warning::Used { name, but });
        }
    }
    if let Err(invalid) = timeout(get) {
        warn(Warning::NotUsed(invalid, "the default is used"));
    }
    let Ok(Endpoint { url, name, .. }) = endpoint(get) else { return };
    let has_headers = headers(get).is_ok_and(|headers| !headers.is_empty())
        || headers_source(get).is_ok_and(|source| source.is_some());
    if has_headers && SinkRequest::is_exposed(&url) {
        let but = "is not https and leads to another machine: headers can be read on their way";
        warn(Warning::Used { name, but });
    }
}

/// The first of these variables that is set, with its text. The last one if none is.
fn first(
    get: Variables<'_>,
    names: [&'static str; 2],
) -> Result<(&'static str, String), InvalidVariable> {
    let [special, general] = names;
    let value = text(get, special)?;
    if value.is_empty() { Ok((general, text(get, general)?)) } else { Ok((special, value)) }
}

/// True for an http or https address with a host, without a name, a password or a fragment.
fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    proxy::is_place(host)
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte))
}
