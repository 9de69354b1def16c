//! Datadog's distribution points: the body of `POST /api/v1/distribution_points`.
//!
//! `{"series":[{"metric":"aws.lambda.enhanced.out_of_memory","points":[[1795332899,[1.0]]],
//! "tags":["functionname:f","confidence:confirmed"],"type":"distribution"}]}`
//! (<https://docs.datadoghq.com/api/latest/metrics/#submit-distribution-points>)

use super::writer::Writer;
use crate::Error;
use crate::detect::detection::{Confidence, StartKind};
use crate::format::metric::{Metric, Source, partition};
use crate::scan::evidence::EvidenceSet;

/// The tags that a user adds. A text that is not set is empty
/// (<https://docs.datadoghq.com/getting_started/tagging/unified_service_tagging/>).
#[derive(Clone, Copy, Debug, Default)]
pub struct UserTags<'a> {
    /// `DD_TAGS`: `key:value`, separated by commas or blanks.
    pub tags: &'a str,
    /// `DD_ENV`.
    pub env: &'a str,
    /// `DD_SERVICE`.
    pub service: &'a str,
    /// `DD_VERSION`.
    pub version: &'a str,
}

/// Writes the body that reports all of `metrics` with the user's tags, and returns its length.
/// Metrics with the same tags share a series.
///
/// # Errors
/// [`Error::BufferFull`] if they do not fit.
pub fn write(metrics: &[Metric<'_>], user: &UserTags<'_>, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    writer.raw("{\"series\":[");
    for (index, first) in metrics.iter().enumerate() {
        let is_alike = |metric: &&Metric<'_>| series_of(metric) == series_of(first);
        if metrics.iter().take(index).any(|metric| is_alike(&metric)) {
            continue;
        }
        writer.raw(if index == 0 { "{\"metric\":\"" } else { ",{\"metric\":\"" });
        writer.raw(first.name());
        writer.raw("\",\"points\":[");
        for (place, metric) in metrics.iter().filter(is_alike).enumerate() {
            writer.raw(if place == 0 { "[" } else { ",[" });
            writer.number(metric.time_ms / 1000);
            writer.raw(",[");
            writer.number(metric.value());
            writer.raw(".0]]");
        }
        writer.raw("],\"tags\":[");
        tags(&mut writer, first, user);
        writer.raw("],\"type\":\"distribution\"}");
    }
    writer.raw("]}");
    writer.finish()
}

/// The name, and the tags in which metrics of one function differ.
fn series_of(metric: &Metric<'_>) -> (&'static str, Confidence, EvidenceSet, StartKind, bool) {
    let detection = metric.detection;
    (metric.name(), detection.confidence, detection.evidence, detection.start, metric.late)
}

/// The tags of Datadog's own extension, so that existing monitors and dashboards work, and ours.
fn tags(writer: &mut Writer<'_>, metric: &Metric<'_>, user: &UserTags<'_>) {
    let (detection, source) = (metric.detection, metric.source);
    if !metric.is_high_water() {
        tag(writer, "confidence", detection.confidence.as_str());
    }
    for kind in detection.evidence.iter() {
        tag(writer, "evidence", kind.as_str());
    }
    function_tags(writer, source, user);
    start_tags(writer, detection.start);
    if metric.late {
        tag(writer, "late", "true");
    }
    for tag in user_tags(user.tags) {
        writer.raw(separator(writer));
        writer.string(tag);
    }
}

/// The tags of the function and its environment. A tag of the user with the same key replaces one,
/// as in Datadog's extension.
fn function_tags(writer: &mut Writer<'_>, source: &Source<'_>, user: &UserTags<'_>) {
    let published = published_version(source);
    let resource = [source.function_name, if published.is_empty() { "" } else { ":" }, published];
    let arn = [
        "arn:",
        partition(source.region),
        ":lambda:",
        source.region,
        ":",
        source.account_id,
        ":function:",
        source.function_name,
    ];
    let has_arn = ![source.region, source.account_id, source.function_name].contains(&"");
    let arn = if has_arn { arn.as_slice() } else { &[] };
    let is_durable = if source.runtime.is_durable() { "true" } else { "" };
    let as_it_is: [(&str, &[&str]); _] = [
        ("functionname", &[source.function_name]),
        ("region", &[source.region]),
        ("account_id", &[source.account_id]),
        ("aws_account", &[source.account_id]),
        ("resource", if source.function_name.is_empty() { &[] } else { &resource }),
        ("executedversion", &[published]),
        ("memorysize", &[source.memory_size_mb]),
        ("init_type", &[source.initialization_type]),
        ("runtime", &[source.runtime.as_str()]),
        ("durable_function", &[is_durable]),
        ("architecture", &[ARCHITECTURE]),
        ("env", &[user.env]),
        ("version", &[user.version]),
    ];
    let in_lower_case: [(&str, &[&str]); _] = [("function_arn", arn), ("service", &[user.service])];
    let is_free = |key: &str| !user_tags(user.tags).any(|tag| key_of(tag) == key);
    for (key, parts) in as_it_is.iter().filter(|(key, _)| is_free(key)) {
        joined_tag(writer, key, parts);
    }
    let begin = writer.len();
    for (key, parts) in in_lower_case.iter().filter(|(key, _)| is_free(key)) {
        joined_tag(writer, key, parts);
    }
    writer.written_since(begin).make_ascii_lowercase();
}

/// The version, unless it is `$LATEST`.
fn published_version<'a>(source: &Source<'a>) -> &'a str {
    if source.function_version == "$LATEST" { "" } else { source.function_version }
}

/// Datadog's extension also tells a proactive initialization from a cold start.
fn start_tags(writer: &mut Writer<'_>, start: StartKind) {
    let is_cold = match start {
        StartKind::Cold => "true",
        StartKind::Proactive | StartKind::Warm => "false",
        StartKind::Unknown => return,
    };
    tag(writer, "cold_start", is_cold);
    if start == StartKind::Proactive {
        tag(writer, "proactive_initialization", "true");
    }
}

/// The tags in a text such as `DD_TAGS`, separated by commas or blanks. A tag needs a key, a colon
/// and a value.
pub fn user_tags(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|part| {
        let colon = part.bytes().position(|byte| byte == b':');
        colon.is_some_and(|at| at > 0 && at.saturating_add(1) < part.len())
    })
}

fn key_of(tag: &str) -> &str {
    tag.split(':').next().unwrap_or_default()
}

fn tag(writer: &mut Writer<'_>, key: &str, value: &str) {
    joined_tag(writer, key, &[value]);
}

/// A tag whose value is all of `parts`, or nothing if they are empty.
fn joined_tag(writer: &mut Writer<'_>, key: &str, parts: &[&str]) {
    if parts.iter().all(|part| part.is_empty()) {
        return;
    }
    writer.raw(separator(writer));
    writer.raw("\"");
    writer.raw(key);
    writer.raw(":");
    for part in parts {
        writer.escaped(part);
    }
    writer.raw("\"");
}

/// What comes before the next tag.
fn separator(writer: &Writer<'_>) -> &'static str {
    if writer.ends_with(b'[') { "" } else { "," }
}

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
