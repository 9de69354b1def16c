//! OTLP metrics: an `ExportMetricsServiceRequest` in binary protobuf, the body of
//! `POST /v1/metrics` with `Content-Type: application/x-protobuf`.
//!
//! It has a monotonic sum with the unit `{attempt}` for attempts that ran out of memory, and a
//! gauge with the unit `MiBy` for a high-water mark near the limit. Attributes follow the semantic
//! conventions for FaaS and cloud resources, which have no metric for out-of-memory events
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>,
//! <https://opentelemetry.io/docs/specs/semconv/resource/faas/>). Points have no request id, since
//! each value of an attribute is a series of its own.

use super::protobuf::{ProtobufField, ProtobufReader, ProtobufWriter};
use crate::Error;
use crate::detect::detection::{Confidence, Detection, DetectionKind};
use crate::format::metric::{HIGH_WATER_METRIC_NAME, METRIC_NAME, Metric, Source, partition};
use crate::format::pairs::encoded_pairs;

/// What a request says beside its metrics. A text that is not known is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtlpOptions<'a> {
    /// How the counts relate to those before.
    pub temporality: Temporality,
    /// Attributes of the resource, as `OTEL_RESOURCE_ATTRIBUTES` has them ([`pairs`]). They win
    /// over the attributes that this crate writes. One that cannot be decoded to UTF-8 is left out.
    ///
    /// [`pairs`]: super::pairs
    pub resource_attributes: &'a str,
    /// `service.name`: `OTEL_SERVICE_NAME`, which wins over `resource_attributes`. If both lack it,
    /// the function's name.
    pub service_name: &'a str,
    /// `service.instance.id`: what distinguishes the environment from others of the function.
    pub instance_id: &'a str,
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
    /// Each count is the sum of all since the start.
    ///
    /// Each series has two points: the sum before these metrics, and the sum with them. So a query
    /// for the increase finds the first count of an environment too. The evidence is left out:
    /// otherwise each set of it would be a series of its own, with one count or two.
    Cumulative {
        /// When counting began, in milliseconds since the epoch.
        start_ms: u64,
        /// The sums before these metrics.
        before: OtlpSums,
    },
}

/// The counts so far of each cumulative series.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OtlpSums([u32; SERIES_COUNT]);

/// The cumulative series: a confidence, and whether there is an error type. A suspicion has none.
const SERIES_COUNT: usize = 3;

impl OtlpSums {
    /// Nothing has been counted.
    pub const ZERO: Self = Self([0; SERIES_COUNT]);

    /// Adds a detection whose delivery is over. A high-water mark belongs to no sum.
    pub fn add(&mut self, detection: &Detection) {
        if detection.kind == DetectionKind::HighWater {
            return;
        }
        if let Some(sum) = self.0.get_mut(Self::place(detection)) {
            *sum = sum.saturating_add(detection.count);
        }
    }

    fn of(&self, detection: &Detection) -> u64 {
        self.0.get(Self::place(detection)).copied().unwrap_or_default().into()
    }

    fn place(detection: &Detection) -> usize {
        match detection.confidence {
            Confidence::Suspected => 0,
            Confidence::Confirmed if has_error_type(detection) => 2,
            Confidence::Confirmed => 1,
        }
    }
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
            for kind in [DetectionKind::OutOfMemory, DetectionKind::HighWater] {
                if !metrics.iter().any(|metric| metric.detection.kind == kind) {
                    continue;
                }
                let ([name, description, unit], field) = match kind {
                    DetectionKind::OutOfMemory => (SUM, 7),
                    DetectionKind::HighWater => (GAUGE, 5),
                };
                scope_metrics.message(2, |metric| {
                    metric.string(1, name);
                    metric.string(2, description);
                    metric.string(3, unit);
                    metric.message(field, |data| write_data(data, kind, metrics, options));
                });
            }
        });
    });
    writer.finish()
}

/// Name, description and unit.
const SUM: [&str; 3] =
    [METRIC_NAME, "Attempts to run a function that ran out of memory", "{attempt}"];
const GAUGE: [&str; 3] =
    [HIGH_WATER_METRIC_NAME, "High-water mark of the memory, when it comes near the limit", "MiBy"];

/// Writes the sum of attempts that ran out of memory, or the gauge of the highest mark.
fn write_data(
    data: &mut ProtobufWriter<'_>,
    kind: DetectionKind,
    metrics: &[Metric<'_>],
    options: &OtlpOptions<'_>,
) {
    let is_gauge = kind == DetectionKind::HighWater;
    let series_of = |metric: &Metric<'_>| series_of(metric.detection, options.temporality);
    for (index, first) in metrics.iter().enumerate() {
        let is_alike = |metric: &&Metric<'_>| series_of(metric) == series_of(first);
        let is_known = metrics.iter().take(index).any(|metric| is_alike(&metric));
        if first.detection.kind != kind || is_known {
            continue;
        }
        let alike = || metrics.iter().filter(is_alike);
        let value = alike().fold(0_u64, |value, metric| match is_gauge {
            true => value.max(metric.value()),
            false => value.saturating_add(metric.value()),
        });
        let begin_ms = alike().map(|metric| metric.time_ms).min().unwrap_or_default();
        let end_ms = alike().map(|metric| metric.time_ms).max().unwrap_or_default();
        // An interval excludes its start, so the earliest detection lies after it.
        let begin_ms = begin_ms.saturating_sub(1);
        let mut point = |start_ms, time_ms, value| {
            data.message(1, |point| {
                point.fixed64(3, nanoseconds(time_ms));
                point.fixed64(6, value);
                if !is_gauge {
                    point.fixed64(2, nanoseconds(start_ms));
                    point_attributes(point, first.detection, options.temporality);
                }
            });
        };
        match options.temporality {
            Temporality::Cumulative { start_ms, before } if !is_gauge => {
                let before = before.of(first.detection);
                // The event may be a little older than the process that counts.
                point(start_ms, begin_ms.max(start_ms), before);
                let end_ms = end_ms.max(start_ms.saturating_add(1));
                point(start_ms, end_ms, before.saturating_add(value));
            }
            _ => point(begin_ms, end_ms, value),
        }
    }
    if is_gauge {
        return;
    }
    data.integer(
        2,
        match options.temporality {
            Temporality::Delta => 1,
            Temporality::Cumulative { .. } => 2,
        },
    );
    data.integer(3, 1);
}

/// The kind, and the attributes in which the points of one function differ.
fn series_of(
    detection: &Detection,
    temporality: Temporality,
) -> (DetectionKind, Confidence, u8, bool) {
    let evidence = match temporality {
        Temporality::Delta => detection.evidence.to_bits(),
        Temporality::Cumulative { .. } => 0,
    };
    (detection.kind, detection.confidence, evidence, has_error_type(detection))
}

/// A confirmed attempt that failed has the error type, as AWS's runtimes report it.
fn has_error_type(detection: &Detection) -> bool {
    detection.confidence == Confidence::Confirmed && detection.status.is_failed()
}

fn point_attributes(
    point: &mut ProtobufWriter<'_>,
    detection: &Detection,
    temporality: Temporality,
) {
    const FIELD: u32 = 7;
    attribute(point, FIELD, "oom_witness.confidence", detection.confidence.as_str());
    if temporality == Temporality::Delta {
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
    }
    if has_error_type(detection) {
        attribute(point, FIELD, "error.type", "Runtime.OutOfMemory");
    }
}

/// Writes the attributes of the resource: first the user's, then those that the user has not set.
fn resource_attributes(
    resource: &mut ProtobufWriter<'_>,
    source: &Source<'_>,
    options: &OtlpOptions<'_>,
) {
    const FIELD: u32 = 1;
    let is_named = !options.service_name.is_empty();
    let given = || encoded_pairs(options.resource_attributes);
    for (index, (key, value)) in given().enumerate() {
        let is_later = given().skip(index).skip(1).any(|(later, _)| later.eq(key.clone()));
        let is_replaced = is_later || is_named && key.clone().eq("service.name".bytes());
        if !is_replaced && key.is_text() && value.is_text() {
            resource.message(FIELD, |pair| {
                pair.decoded(1, key);
                pair.message(2, |any| any.decoded(1, value));
            });
        }
    }
    let is_given = |name: &str| given().any(|(key, _)| key.eq(name.bytes()));
    let mut own = |key: &str, text: &str| {
        if !is_given(key) {
            attribute(resource, FIELD, key, text);
        }
    };
    own("service.instance.id", options.instance_id);
    own("cloud.provider", "aws");
    own("cloud.platform", "aws_lambda");
    own("cloud.region", source.region);
    own("cloud.account.id", source.account_id);
    own("faas.name", source.function_name);
    own("faas.version", source.function_version);
    if is_named {
        attribute(resource, FIELD, "service.name", options.service_name);
    } else {
        own("service.name", source.function_name);
    }
    if let Ok(mb) = source.memory_size_mb.parse::<u64>()
        && !is_given("faas.max_memory")
    {
        resource.message(FIELD, |pair| {
            pair.string(1, "faas.max_memory");
            pair.message(2, |value| value.integer(3, mb.saturating_mul(BYTES_PER_MB)));
        });
    }
    if !is_given("cloud.resource_id") {
        resource_id(resource, FIELD, source);
    }
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

/// What a receiver says in its answer to a request that it has taken
/// (<https://opentelemetry.io/docs/specs/otlp/#partial-success-1>).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PartialSuccess<'a> {
    /// How many data points it has not taken. They must not be sent again.
    pub rejected_data_points: u64,
    /// Why, or a warning if it has taken all of them.
    pub error_message: &'a str,
}

impl<'a> PartialSuccess<'a> {
    /// Reads an `ExportMetricsServiceResponse`, the body of an answer with the status 200. What is
    /// no such message counts as full success, as the status says.
    #[must_use]
    pub fn read(answer: &'a [u8]) -> Self {
        let mut success = Self::default();
        for (_, value) in ProtobufReader::new(answer).filter(|(number, _)| *number == 1) {
            let ProtobufField::Bytes(message) = value else { continue };
            for field in ProtobufReader::new(message) {
                match field {
                    (1, ProtobufField::Integer(count)) => success.rejected_data_points = count,
                    (2, ProtobufField::Bytes(text)) => success.error_message = utf8(text),
                    _ => {}
                }
            }
        }
        success
    }
}

/// The message of a `google.rpc.Status`, the body of an answer that refuses a request. Empty if
/// there is none (<https://opentelemetry.io/docs/specs/otlp/#failures-1>).
#[must_use]
pub fn status_message(answer: &[u8]) -> &str {
    let message = ProtobufReader::new(answer).find_map(|field| match field {
        (2, ProtobufField::Bytes(text)) => Some(utf8(text)),
        _ => None,
    });
    message.unwrap_or_default()
}

fn utf8(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}
