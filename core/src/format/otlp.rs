//! OTLP metrics: an `ExportMetricsServiceRequest` in binary protobuf, the body of
//! `POST /v1/metrics` with `Content-Type: application/x-protobuf`.
//!
//! It has a monotonic sum with the unit `{attempt}` for attempts that ran out of memory, and a
//! gauge with the unit `MiBy` for a high-water mark near the limit. Attributes follow the semantic
//! conventions for FaaS and cloud resources, which have no metric for out-of-memory events
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>,
//! <https://opentelemetry.io/docs/specs/semconv/resource/faas/>). Points have no request id, since
//! each value of an attribute is a series of its own.

use super::protobuf::ProtobufWriter;
use crate::Error;
use crate::detect::detection::{Confidence, Detection};
use crate::format::metric::{HIGH_WATER_METRIC_NAME, METRIC_NAME, Metric, Source, partition};

/// What a request says beside its metrics. A text that is not known is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtlpOptions<'a> {
    /// How the counts relate to those before.
    pub temporality: Temporality,
    /// When counting began, in milliseconds since the epoch. Only used by
    /// [`Temporality::Cumulative`].
    pub start_ms: u64,
    /// `service.name`: `OTEL_SERVICE_NAME`. If it is empty, the function's name.
    pub service_name: &'a str,
    /// `faas.instance` and `service.instance.id`: `AWS_LAMBDA_LOG_STREAM_NAME`.
    pub instance: &'a str,
    /// The version of the program that counts, for the instrumentation scope.
    pub scope_version: &'a str,
}

/// How the counts of a request relate to those before
/// (<https://opentelemetry.io/docs/specs/otel/metrics/data-model/#temporality>).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Temporality {
    /// Each count is new.
    #[default]
    Delta,
    /// Each count is the sum since [`OtlpOptions::start_ms`]. The caller adds them up.
    Cumulative,
}

/// Writes the body that reports all of `metrics`, and returns its length. They are of one function.
/// Metrics with the same attributes become one point with their sum.
///
/// # Errors
/// [`Error::BufferFull`] if they do not fit.
pub fn write(
    metrics: &[Metric<'_>],
    options: &OtlpOptions<'_>,
    out: &mut [u8],
) -> Result<usize, Error> {
    let mut writer = ProtobufWriter::new(out);
    let Some(first) = metrics.first() else { return Ok(0) };
    // ExportMetricsServiceRequest.resource_metrics
    writer.message(1, |request| {
        request.message(1, |resource| resource_attributes(resource, first.source, options));
        // ResourceMetrics.scope_metrics
        request.message(2, |scope_metrics| {
            scope_metrics.message(1, |scope| {
                scope.string(1, "oom-witness");
                scope.string(2, options.scope_version);
            });
            if !metrics.iter().all(Metric::is_high_water) {
                scope_metrics.message(2, |metric| {
                    metric.string(1, METRIC_NAME);
                    metric.string(2, "Attempts to run a function that ran out of memory");
                    metric.string(3, "{attempt}");
                    metric.message(7, |sum| write_sum(sum, metrics, options));
                });
            }
            if metrics.iter().any(Metric::is_high_water) {
                scope_metrics.message(2, |metric| {
                    metric.string(1, HIGH_WATER_METRIC_NAME);
                    metric.string(2, "High-water mark of the memory, when it comes near the limit");
                    metric.string(3, "MiBy");
                    metric.message(5, |gauge| write_gauge(gauge, metrics));
                });
            }
        });
    });
    writer.finish()
}

fn write_sum(sum: &mut ProtobufWriter<'_>, metrics: &[Metric<'_>], options: &OtlpOptions<'_>) {
    for (index, first) in metrics.iter().enumerate() {
        let is_alike =
            |metric: &&Metric<'_>| !metric.is_high_water() && series_of(metric) == series_of(first);
        if first.is_high_water() || metrics.iter().take(index).any(|metric| is_alike(&metric)) {
            continue;
        }
        let alike = || metrics.iter().filter(is_alike);
        let count = alike().fold(0_u64, |sum, metric| sum.saturating_add(count_of(metric)));
        let begin_ms = alike().map(|metric| metric.time_ms).min().unwrap_or_default();
        let end_ms = alike().map(|metric| metric.time_ms).max().unwrap_or_default();
        let start_ms = match options.temporality {
            // The interval excludes its start, so the earliest detection lies after it.
            Temporality::Delta => begin_ms.saturating_sub(1),
            Temporality::Cumulative => options.start_ms,
        };
        sum.message(1, |point| {
            point.fixed64(2, nanoseconds(start_ms));
            point.fixed64(3, nanoseconds(end_ms));
            point.fixed64(6, count);
            point_attributes(point, first.detection);
        });
    }
    sum.integer(
        2,
        match options.temporality {
            Temporality::Delta => 1,
            Temporality::Cumulative => 2,
        },
    );
    sum.integer(3, 1);
}

/// Writes the highest of the marks as one point.
fn write_gauge(gauge: &mut ProtobufWriter<'_>, metrics: &[Metric<'_>]) {
    let marks = metrics.iter().filter(|metric| metric.is_high_water());
    let Some(highest) = marks.max_by_key(|metric| metric.value()) else { return };
    gauge.message(1, |point| {
        point.fixed64(3, nanoseconds(highest.time_ms));
        point.fixed64(6, highest.value());
    });
}

/// The attributes in which the points of one function differ.
fn series_of(metric: &Metric<'_>) -> (Confidence, u8, bool) {
    let detection = metric.detection;
    (detection.confidence, detection.evidence.to_bits(), has_error_type(detection))
}

fn count_of(metric: &Metric<'_>) -> u64 {
    metric.detection.count.into()
}

/// A confirmed attempt that failed has the error type, as AWS's runtimes report it.
fn has_error_type(detection: &Detection) -> bool {
    detection.confidence == Confidence::Confirmed && detection.status.is_failed()
}

fn point_attributes(point: &mut ProtobufWriter<'_>, detection: &Detection) {
    const FIELD: u32 = 7;
    attribute(point, FIELD, "oom_witness.confidence", detection.confidence.as_str());
    point.message(FIELD, |pair| {
        pair.string(1, "oom_witness.evidence");
        // AnyValue.array_value
        pair.message(2, |value| {
            value.message(5, |array| {
                for kind in detection.evidence.iter() {
                    array.message(1, |value| value.string(1, kind.as_str()));
                }
            });
        });
    });
    if has_error_type(detection) {
        attribute(point, FIELD, "error.type", "Runtime.OutOfMemory");
    }
}

fn resource_attributes(
    resource: &mut ProtobufWriter<'_>,
    source: &Source<'_>,
    options: &OtlpOptions<'_>,
) {
    const FIELD: u32 = 1;
    let is_named = !options.service_name.is_empty();
    let service = if is_named { options.service_name } else { source.function_name };
    attribute(resource, FIELD, "service.name", service);
    attribute(resource, FIELD, "service.instance.id", options.instance);
    attribute(resource, FIELD, "cloud.provider", "aws");
    attribute(resource, FIELD, "cloud.platform", "aws_lambda");
    attribute(resource, FIELD, "cloud.region", source.region);
    attribute(resource, FIELD, "cloud.account.id", source.account_id);
    attribute(resource, FIELD, "faas.name", source.function_name);
    attribute(resource, FIELD, "faas.version", source.function_version);
    attribute(resource, FIELD, "faas.instance", options.instance);
    if let Ok(mb) = source.memory_size_mb.parse::<u64>() {
        resource.message(FIELD, |pair| {
            pair.string(1, "faas.max_memory");
            pair.message(2, |value| value.integer(3, mb.saturating_mul(BYTES_PER_MB)));
        });
    }
    resource_id(resource, FIELD, source);
}

/// `cloud.resource_id`: the function's ARN, with its version if it has one.
fn resource_id(resource: &mut ProtobufWriter<'_>, field: u32, source: &Source<'_>) {
    let Source { region, account_id, function_name, function_version, .. } = *source;
    if region.is_empty() || account_id.is_empty() || function_name.is_empty() {
        return;
    }
    let is_published = !matches!(function_version, "" | "$LATEST");
    let version = if is_published { [":", function_version] } else { ["", ""] };
    let [colon, version] = version;
    let parts = [
        "arn:",
        partition(region),
        ":lambda:",
        region,
        ":",
        account_id,
        ":function:",
        function_name,
        colon,
        version,
    ];
    resource.message(field, |pair| {
        pair.string(1, "cloud.resource_id");
        pair.message(2, |value| value.text_of(1, &parts));
    });
}

/// An attribute with a text, or nothing if the text is empty.
fn attribute(message: &mut ProtobufWriter<'_>, field: u32, key: &str, text: &str) {
    if !text.is_empty() {
        message.message(field, |pair| {
            pair.string(1, key);
            pair.message(2, |value| value.string(1, text));
        });
    }
}

const fn nanoseconds(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

/// Lambda's MB are MiB.
const BYTES_PER_MB: u64 = 1 << 20;
