//! CloudWatch's Embedded Metric Format: one line that is metric and log.
//!
//! `{"_aws":{"Timestamp":1795332899808,"CloudWatchMetrics":[{"Namespace":"OomWitness","Dimensions":
//! [["FunctionName"],["FunctionName","Confidence"]],"Metrics":[{"Name":"aws.lambda.enhanced.out_of_
//! memory","Unit":"Count"}]}]},"FunctionName":"f","Confidence":"confirmed","message":"...",...}`
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>)

use super::sentence::{evidence, sentence};
use super::writer::Writer;
use crate::Error;
use crate::format::metric::Metric;
use crate::time::{self, write_rfc3339_ms};

/// Writes the line, without a line break, and returns its length. `namespace` is the metric's, and
/// must not be empty.
///
/// # Errors
/// [`Error::BufferFull`] if it does not fit.
pub fn write(metric: &Metric<'_>, namespace: &str, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    let (detection, source) = (metric.detection, metric.source);
    writer.raw("{\"_aws\":{\"Timestamp\":");
    writer.number(metric.time_ms);
    writer.raw(",\"CloudWatchMetrics\":[{\"Namespace\":");
    writer.string(namespace);
    let is_high_water = metric.is_high_water();
    // A warning is no out-of-memory error, so nothing in its line may look like one.
    let [dimensions, unit, level] = if is_high_water { &OF_WARNING } else { &OF_DETECTION };
    writer.raw(dimensions);
    writer.raw(metric.name());
    writer.raw(unit);
    writer.string(if source.function_name.is_empty() { "unknown" } else { source.function_name });
    if !is_high_water {
        writer.member("Confidence", detection.confidence.as_str());
    }
    // The function's log filter may drop lines without a level, or below ERROR.
    writer.member("level", level);
    let mut timestamp = [0; time::TEXT_LEN];
    write_rfc3339_ms(metric.time_ms, &mut timestamp);
    writer.member("timestamp", core::str::from_utf8(&timestamp).unwrap_or_default());
    writer.raw(",\"message\":\"");
    sentence(&mut writer, detection);
    writer.raw("\"");
    writer.member("requestId", detection.subject.request_id().map_or("", |id| id.as_str()));
    if !is_high_water {
        writer.raw(",\"evidence\":\"");
        evidence(&mut writer, detection.evidence);
        writer.raw("\"");
    }
    writer.member("status", detection.status.as_str());
    writer.number_member("maxMemoryUsedMB", detection.max_memory_used_mb.map(u64::from));
    writer.number_member("memorySizeMB", detection.memory_size_mb.map(u64::from));
    writer.member("functionVersion", source.function_version);
    writer.member("initializationType", source.initialization_type);
    writer.raw(",\"");
    writer.raw(metric.name());
    writer.raw("\":");
    writer.number(metric.value());
    writer.raw("}");
    writer.finish()
}

/// What is before and after the metric's name, and the level.
static OF_DETECTION: [&str; 3] = [
    ",\"Dimensions\":[[\"FunctionName\"],[\"FunctionName\",\"Confidence\"]],\
     \"Metrics\":[{\"Name\":\"",
    "\",\"Unit\":\"Count\"}]}]},\"FunctionName\":",
    "ERROR",
];
static OF_WARNING: [&str; 3] = [
    ",\"Dimensions\":[[\"FunctionName\"]],\"Metrics\":[{\"Name\":\"",
    "\",\"Unit\":\"Megabytes\"}]}]},\"FunctionName\":",
    "WARN",
];
