//! Datadog's distribution points: the body of `POST /api/v1/distribution_points`.
//!
//! `{"series":[{"metric":"aws.lambda.enhanced.out_of_memory","points":[[1795332899,[1.0]]],
//! "tags":["functionname:f","confidence:confirmed"],"type":"distribution"}]}`
//! (<https://docs.datadoghq.com/api/latest/metrics/#submit-distribution-points>)

use super::writer::Writer;
use crate::Error;
use crate::detect::detection::Confidence;
use crate::format::metric::{METRIC_NAME, Metric, partition};
use crate::scan::evidence::EvidenceSet;

/// Writes the body that reports all of `metrics`, and returns its length. Metrics with the same
/// tags share a series.
///
/// # Errors
/// [`Error::BufferFull`] if they do not fit.
pub fn write(metrics: &[Metric<'_>], out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    writer.raw("{\"series\":[");
    for (index, first) in metrics.iter().enumerate() {
        let is_alike = |metric: &&Metric<'_>| series_of(metric) == series_of(first);
        if metrics.iter().take(index).any(|metric| is_alike(&metric)) {
            continue;
        }
        writer.raw(if index == 0 { "{\"metric\":\"" } else { ",{\"metric\":\"" });
        writer.raw(METRIC_NAME);
        writer.raw("\",\"points\":[");
        for (place, metric) in metrics.iter().filter(is_alike).enumerate() {
            writer.raw(if place == 0 { "[" } else { ",[" });
            writer.number(metric.time_ms / 1000);
            writer.raw(",[");
            writer.number(metric.detection.count.into());
            writer.raw(".0]]");
        }
        writer.raw("],\"tags\":[");
        tags(&mut writer, first);
        writer.raw("],\"type\":\"distribution\"}");
    }
    writer.raw("]}");
    writer.finish()
}

/// The tags in which metrics of one function differ.
fn series_of(metric: &Metric<'_>) -> (Confidence, EvidenceSet, bool) {
    (metric.detection.confidence, metric.detection.evidence, metric.late)
}

/// The tags of Datadog's own extension, so that existing monitors and dashboards work, and ours.
fn tags(writer: &mut Writer<'_>, metric: &Metric<'_>) {
    let (detection, source) = (metric.detection, metric.source);
    writer.raw("\"confidence:");
    writer.raw(detection.confidence.as_str());
    writer.raw("\"");
    for kind in detection.evidence.iter() {
        tag(writer, "evidence", kind.as_str());
    }
    tag(writer, "functionname", source.function_name);
    tag(writer, "region", source.region);
    tag(writer, "account_id", source.account_id);
    tag(writer, "aws_account", source.account_id);
    resource(writer, metric);
    function_arn(writer, metric);
    tag(writer, "memorysize", source.memory_size_mb);
    tag(writer, "init_type", source.initialization_type);
    tag(writer, "architecture", ARCHITECTURE);
    tag(writer, "env", source.env);
    tag(writer, "service", source.service);
    tag(writer, "version", source.version);
    if metric.late {
        tag(writer, "late", "true");
    }
    for tag in user_tags(source.tags) {
        writer.raw(",");
        writer.string(tag);
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

/// `resource:name`, or `resource:name:version` and `executedversion` for a published version.
fn resource(writer: &mut Writer<'_>, metric: &Metric<'_>) {
    let source = metric.source;
    let is_latest = matches!(source.function_version, "" | "$LATEST");
    if source.function_name.is_empty() {
        return;
    }
    writer.raw(",\"resource:");
    writer.escaped(source.function_name);
    if !is_latest {
        writer.raw(":");
        writer.escaped(source.function_version);
    }
    writer.raw("\"");
    if !is_latest {
        tag(writer, "executedversion", source.function_version);
    }
}

fn function_arn(writer: &mut Writer<'_>, metric: &Metric<'_>) {
    let source = metric.source;
    if source.region.is_empty() || source.account_id.is_empty() || source.function_name.is_empty() {
        return;
    }
    writer.raw(",\"function_arn:arn:");
    writer.raw(partition(source.region));
    writer.raw(":lambda:");
    writer.escaped(source.region);
    writer.raw(":");
    writer.escaped(source.account_id);
    writer.raw(":function:");
    // Datadog's extension writes the whole ARN in lower case.
    for character in source.function_name.chars() {
        let mut utf8 = [0; 4];
        writer.escaped(character.to_ascii_lowercase().encode_utf8(&mut utf8));
    }
    writer.raw("\"");
}

fn tag(writer: &mut Writer<'_>, key: &str, value: &str) {
    if !value.is_empty() {
        writer.raw(",\"");
        writer.raw(key);
        writer.raw(":");
        writer.escaped(value);
        writer.raw("\"");
    }
}

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
