//! OTLP, as the official schema decodes it.

use oom_witness_core::format::otlp::{
    OtlpOptions, OtlpSums, PartialSuccess, Temporality, status_message, write,
};
use oom_witness_core::{
    Confidence, Detection, Error, Evidence, EvidenceSet, HIGH_WATER_METRIC_NAME, METRIC_NAME,
    Metric, Source, Status,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, Sum, number_data_point};
use prost::Message;

use super::{TIME_MS, detection, high_water, source};

const OPTIONS: OtlpOptions<'_> = OtlpOptions {
    temporality: Temporality::Delta,
    resource_attributes: "",
    service_name: "",
    instance_id: "0123456789abcdef",
    scope_version: "0.1.0",
};

/// The request that reports these. It is decoded without a field that the schema does not know, and
/// a buffer that is one byte too small is an error.
fn request(metrics: &[Metric<'_>], options: &OtlpOptions<'_>) -> ExportMetricsServiceRequest {
    let mut buffer = [0; 4096];
    let length = write(metrics, options, &mut buffer).expect("it fits");
    let request = ExportMetricsServiceRequest::decode(&buffer[..length]).expect("a request");
    assert_eq!(request.encoded_len(), length, "nothing is unknown or longer than it must be");
    for size in 0..length {
        assert_eq!(write(metrics, options, &mut vec![0; size]), Err(Error::BufferFull), "{size}");
    }
    request
}

/// The sum in a request that has one resource, one scope and one metric.
fn sum(request: &ExportMetricsServiceRequest) -> &Sum {
    let [resource] = request.resource_metrics.as_slice() else { panic!("one resource") };
    let [scope] = resource.scope_metrics.as_slice() else { panic!("one scope") };
    let [metric] = scope.metrics.as_slice() else { panic!("one metric") };
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), (METRIC_NAME, "{attempt}"));
    let named = scope.scope.as_ref().map(|scope| (scope.name.as_str(), scope.version.as_str()));
    assert_eq!(named, Some(("oom-witness", "0.1.0")));
    let Some(Data::Sum(sum)) = &metric.data else { panic!("a sum") };
    assert!(sum.is_monotonic);
    sum
}

/// Attributes as text.
fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::ArrayValue(ArrayValue { values })) => {
            let values = values.iter().filter_map(|any| any.value.as_ref());
            values.map(text).collect::<Vec<_>>().join(" ")
        }
        Some(value) => text(value),
        None => panic!("{} has no value", pair.key),
    };
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn pairs(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    texts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn count(point: &NumberDataPoint) -> i64 {
    let Some(number_data_point::Value::AsInt(count)) = point.value else { panic!("an integer") };
    count
}

#[test]
fn a_detection_is_a_point_of_a_delta_sum() {
    let (detection, source) = (detection("A"), source("resize"));
    let request = request(&[Metric::new(&detection, &source)], &OPTIONS);
    let sum = sum(&request);
    assert_eq!(sum.aggregation_temporality, 1);
    let [point] = sum.data_points.as_slice() else { panic!("one point") };
    assert_eq!(count(point), 1);
    assert_eq!(point.time_unix_nano, TIME_MS * 1_000_000);
    assert_eq!(point.start_time_unix_nano, (TIME_MS - 1) * 1_000_000);
    assert_eq!(
        pairs(&texts(&point.attributes)),
        [
            ("oom_witness.confidence", "confirmed"),
            ("oom_witness.evidence", "error_type memory_at_limit"),
            ("error.type", "Runtime.OutOfMemory"),
        ]
    );
}

#[test]
fn the_resource_follows_the_semantic_conventions() {
    let detection = detection("A");
    let attributes = |source: &Source<'_>, options: &OtlpOptions<'_>| {
        let request = request(&[Metric::new(&detection, source)], options);
        let resource = request.resource_metrics[0].resource.as_ref().expect("a resource");
        texts(&resource.attributes)
    };
    assert_eq!(
        pairs(&attributes(&source("resize"), &OPTIONS)),
        [
            ("service.instance.id", "0123456789abcdef"),
            ("cloud.provider", "aws"),
            ("cloud.platform", "aws_lambda"),
            ("cloud.region", "eu-west-1"),
            ("cloud.account.id", "123456789012"),
            ("faas.name", "resize"),
            ("faas.version", "7"),
            ("service.name", "resize"),
            ("faas.max_memory", "134217728"),
            ("cloud.resource_id", "arn:aws:lambda:eu-west-1:123456789012:function:resize:7"),
        ]
    );
    let china = Source { region: "cn-north-1", function_version: "$LATEST", ..source("f") };
    let named = OtlpOptions { service_name: "images", ..OPTIONS };
    let attributes = attributes(&china, &named);
    let of = |key: &str| attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    assert_eq!(of("service.name").map(String::as_str), Some("images"));
    assert_eq!(
        of("cloud.resource_id").map(String::as_str),
        Some("arn:aws-cn:lambda:cn-north-1:123456789012:function:f")
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let detection =
        Detection { status: Status::Success, evidence: EvidenceSet::EMPTY, ..detection("A") };
    let source = Source::default();
    let request = request(
        &[Metric::new(&detection, &source)],
        &OtlpOptions { scope_version: "0.1.0", ..OtlpOptions::default() },
    );
    let resource = request.resource_metrics[0].resource.as_ref().expect("a resource");
    assert_eq!(
        pairs(&texts(&resource.attributes)),
        [("cloud.provider", "aws"), ("cloud.platform", "aws_lambda")]
    );
    let attributes = texts(&sum(&request).data_points[0].attributes);
    assert_eq!(
        pairs(&attributes),
        [("oom_witness.confidence", "confirmed"), ("oom_witness.evidence", "")],
        "a success has no error type"
    );
}

#[test]
fn metrics_with_the_same_attributes_share_a_point() {
    let source = source("resize");
    let first = detection("A");
    let later = Detection { time_ms: TIME_MS + 7, count: 300, ..detection("B") };
    let other = Detection {
        confidence: Confidence::Suspected,
        evidence: EvidenceSet::of(&[Evidence::Mention]),
        ..detection("C")
    };
    let metrics = [&first, &other, &later].map(|detection| Metric::new(detection, &source));
    let request = request(&metrics, &OPTIONS);
    let points = &sum(&request).data_points;
    assert_eq!(points.iter().map(count).collect::<Vec<_>>(), [301, 1]);
    assert_eq!(points[0].start_time_unix_nano, (TIME_MS - 1) * 1_000_000);
    assert_eq!(points[0].time_unix_nano, (TIME_MS + 7) * 1_000_000);
}

/// It does not count, and it does not change what counts.
#[test]
fn the_highest_mark_near_the_limit_is_a_gauge() {
    let source = source("resize");
    let (low, high, counted) = (high_water(118), high_water(125), detection("A"));
    let metrics = [&low, &counted, &high].map(|detection| Metric::new(detection, &source));
    let both = request(&metrics, &OPTIONS);
    let metrics_of = |request: &ExportMetricsServiceRequest| {
        request.resource_metrics[0].scope_metrics[0].metrics.clone()
    };
    let [attempts, mark] = metrics_of(&both).try_into().expect("two metrics");
    assert_eq!((mark.name.as_str(), mark.unit.as_str()), (HIGH_WATER_METRIC_NAME, "MiBy"));
    let Some(Data::Gauge(gauge)) = mark.data else { panic!("a gauge") };
    let [point] = gauge.data_points.as_slice() else { panic!("one point") };
    assert_eq!((count(point), point.attributes.len()), (125, 0));
    assert_eq!(point.time_unix_nano, TIME_MS * 1_000_000);

    let alone = request(&[Metric::new(&counted, &source)], &OPTIONS);
    assert_eq!(metrics_of(&alone), [attempts]);
    let alone = request(&[Metric::new(&high, &source)], &OPTIONS);
    assert_eq!(metrics_of(&alone)[0].name, HIGH_WATER_METRIC_NAME);
    assert_eq!(metrics_of(&alone).len(), 1);
}

#[test]
fn a_cumulative_series_has_the_sums_before_and_after() {
    let source = source("resize");
    let first = detection("A");
    let failed = Detection { evidence: EvidenceSet::EMPTY, count: 2, ..first };
    let suspected = Detection { confidence: Confidence::Suspected, ..first };
    let mut before = OtlpSums::ZERO;
    before.add(&Detection { count: 40, ..first });
    let start_ms = TIME_MS - 90_000;
    let options =
        OtlpOptions { temporality: Temporality::Cumulative { start_ms, before }, ..OPTIONS };
    let metrics = [&first, &suspected, &failed].map(|detection| Metric::new(detection, &source));
    let decoded = request(&metrics, &options);
    let points_of = |request| sum(request).data_points.clone();
    let sum = sum(&decoded);
    assert_eq!(sum.aggregation_temporality, 2);
    let points = sum.data_points.iter();
    assert!(points.clone().all(|point| point.start_time_unix_nano == start_ms * 1_000_000));
    let points: Vec<_> =
        points.map(|point| (count(point), point.time_unix_nano / 1_000_000)).collect();
    let (before_ms, after_ms) = (TIME_MS - 1, TIME_MS);
    assert_eq!(points, [(40, before_ms), (43, after_ms), (0, before_ms), (1, after_ms)]);
    assert_eq!(
        pairs(&texts(&sum.data_points[3].attributes)),
        [("oom_witness.confidence", "suspected")],
        "a set of evidence would be a series of its own"
    );
    // A detection from before the start does not lie outside of the interval.
    let late = Temporality::Cumulative { start_ms: TIME_MS + 5, before };
    let decoded = request(&metrics[..1], &OtlpOptions { temporality: late, ..OPTIONS });
    let times = points_of(&decoded).into_iter();
    let times: Vec<_> = times.map(|point| point.time_unix_nano / 1_000_000).collect();
    assert_eq!(times, [TIME_MS + 5, TIME_MS + 6]);
}

#[test]
fn attributes_of_the_user_win() {
    let (detection, source) = (detection("A"), source("resize"));
    let attributes = |resource_attributes, service_name| {
        let options = OtlpOptions { resource_attributes, service_name, ..OPTIONS };
        let request = request(&[Metric::new(&detection, &source)], &options);
        texts(&request.resource_metrics[0].resource.as_ref().expect("a resource").attributes)
    };
    let given = "service.name=a,cloud.region=here,team=r%C3%A9seau,team=b%2Cc,bad=%ff";
    let of = |name: &str, attributes: &[(String, String)]| -> Vec<String> {
        let matching = attributes.iter().filter(|(key, _)| key == name);
        matching.map(|(_, value)| value.clone()).collect()
    };
    for (service_name, expected) in [("", "a"), ("images", "images")] {
        let attributes = attributes(given, service_name);
        assert_eq!(of("service.name", &attributes), [expected]);
        assert_eq!(of("cloud.region", &attributes), ["here"]);
        assert_eq!(of("team", &attributes), ["b,c"], "the last one counts");
        assert_eq!(of("faas.name", &attributes), ["resize"]);
        assert_eq!(of("bad", &attributes), [""; 0]);
    }
}

#[test]
fn an_answer_tells_what_was_not_taken() {
    let success = ExportMetricsPartialSuccess {
        rejected_data_points: 300,
        error_message: "delta is not supported".into(),
    };
    let answer = ExportMetricsServiceResponse { partial_success: Some(success) }.encode_to_vec();
    let expected =
        PartialSuccess { rejected_data_points: 300, error_message: "delta is not supported" };
    assert_eq!(PartialSuccess::read(&answer), expected);
    assert_eq!(PartialSuccess::read(b""), PartialSuccess::default());
    // google.rpc.Status: a code, a message, and details that nobody reads.
    let status = b"\x08\x03\x12\x05wrong\x1a\x02ab";
    assert_eq!(status_message(status), "wrong");
    // Any other bytes are no reason to fail.
    for text in [&answer[..], status, b"<html>not found</html>", &[0xff; 64]] {
        for end in 0..text.len() {
            let _ = PartialSuccess::read(&text[..end]);
            assert!(["wrong", ""].contains(&status_message(&text[..end])), "{end}");
        }
    }
}
