//! Requests to an OTLP receiver, and what its answers make the agent do.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use sandbox::{Intake, IntakeAnswer};

use super::support::bodies::{OOM, bodies, numbered_oom};
use super::support::otlp_requests::{otlp_points, otlp_resources, value};
use super::support::sandboxed_agent::SandboxedAgent;

/// Starts an agent whose detections go to the receiver, with these variables.
fn start(receiver: &Intake, variables: &[(&str, &str)]) -> SandboxedAgent {
    SandboxedAgent::start_with(|builder| {
        let mut builder = builder.variable("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_url());
        for &(name, value) in variables {
            builder = builder.variable(name, value);
        }
        builder
    })
}

/// The same. The agent has a detection while it may not send. Then INVOKE lets it send.
fn start_and_send(receiver: &Intake, variables: &[(&str, &str)]) -> SandboxedAgent {
    let mut agent = start(receiver, variables);
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.invoke("B");
    agent
}

/// The text of an attribute of the resource of the first request.
fn attribute(receiver: &Intake, key: &str) -> Option<String> {
    let resource = otlp_resources(receiver).remove(0).resource.expect("a resource");
    let pair = resource.attributes.into_iter().find(|pair| pair.key == key)?;
    match pair.value?.value? {
        Value::StringValue(text) => Some(text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_request_is_what_the_specification_asks_for() {
    let receiver = Intake::start().expect("an intake");
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=se%20cret,x-scope=a%2Cb"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=r%C3%A9seau"),
    ];
    let agent = start_and_send(&receiver, &variables);
    assert_eq!(otlp_points(&receiver).iter().map(value).collect::<Vec<_>>(), [1]);
    let output = agent.end(0);
    output.assert_once("sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 0");
    output.assert_no_warning();
    let request = receiver.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/metrics"));
    for (name, value) in
        [("content-type", "application/x-protobuf"), ("api-key", "se cret"), ("x-scope", "a,b")]
    {
        let header = request.headers.iter().find(|header| header.0 == name);
        assert_eq!(header.map(|header| header.1.as_str()), Some(value), "{name}");
    }
    for (key, expected) in [("team", "réseau"), ("faas.name", "sandbox-function")] {
        assert_eq!(attribute(&receiver, key).as_deref(), Some(expected));
    }
}

/// Sums go on from request to request, and name the environment that they are of.
#[test]
fn sums_go_on_from_request_to_request() {
    let receiver = Intake::start().expect("an intake");
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let mut agent = start(&receiver, &[(name, "cumulative")]);
    for number in 0..3 {
        for body in bodies(&numbered_oom(number, 7)) {
            agent.post(body.as_bytes());
        }
        agent.invoke("next");
    }
    let points = otlp_points(&receiver);
    assert_eq!(points.iter().map(value).collect::<Vec<_>>(), [0, 1, 1, 2, 2, 3]);
    let is_one = |point: &_| {
        let points = [&points[0], point].map(|point| point.start_time_unix_nano);
        points[0] == points[1]
    };
    assert!(points.iter().all(is_one), "one start: {points:?}");
    assert_eq!(attribute(&receiver, "service.instance.id").map(|id| id.len()), Some(16));
    agent.end(0).assert_no_warning();
}

/// An answer of success that says this.
fn partial_success(rejected_data_points: i64, message: &str) -> IntakeAnswer {
    let error_message = message.to_owned();
    let success = ExportMetricsPartialSuccess { rejected_data_points, error_message };
    let answer = ExportMetricsServiceResponse { partial_success: Some(success) };
    let body = answer.encode_to_vec();
    IntakeAnswer { status: 200, body, ..IntakeAnswer::default() }
}

#[test]
fn points_that_the_receiver_rejects_are_told_and_not_sent_again() {
    let receiver = Intake::start().expect("an intake");
    receiver.answer_all(partial_success(1, "no deltas here"));
    let output = start_and_send(&receiver, &[]).end(0);
    output.assert_once("sent: 0, unknown: 0, dropped: 1, overflowed: 0, failed: 0");
    output.assert_once("otlp has refused a metric: it rejected 1 data points: no deltas here");
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_warning_in_an_answer_of_success_is_told() {
    let receiver = Intake::start().expect("an intake");
    receiver.answer_all(partial_success(0, "this endpoint moves"));
    let output = start_and_send(&receiver, &[]).end(0);
    output.assert_once("sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 0");
    output.assert_once("otlp has taken a metric, and says: this endpoint moves");
}

/// The specification names four. Here each is followed by an answer of success at SHUTDOWN.
#[test]
fn only_the_statuses_of_the_specification_are_retried() {
    for (status, is_retried) in
        [(429, true), (502, true), (503, true), (504, true), (500, false), (408, false)]
    {
        let receiver = Intake::start().expect("an intake");
        receiver.answer_next(IntakeAnswer::status(status));
        let output = start_and_send(&receiver, &[]).end(0);
        assert_eq!(receiver.requests().len(), if is_retried { 2 } else { 1 }, "{status}");
        let tally = if is_retried {
            "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 1"
        } else {
            "sent: 0, unknown: 0, dropped: 1, overflowed: 0, failed: 0"
        };
        output.assert_once(tally);
    }
}

/// The receiver asks to be left alone for longer than the test. Without that, each INVOKE would
/// try again.
#[test]
fn a_receiver_that_asks_for_it_is_left_alone_until_shutdown() {
    for (headers, expected) in [(vec![("retry-after", "200".to_owned())], 1), (vec![], 2)] {
        let receiver = Intake::start().expect("an intake");
        let answer = IntakeAnswer { headers, ..IntakeAnswer::status(503) };
        receiver.answer_next(answer.clone());
        receiver.answer_next(answer);
        let mut agent = start_and_send(&receiver, &[]);
        agent.invoke("C");
        agent.invoke("D");
        let before = receiver.requests().iter().filter(|request| request.status == 503).count();
        assert_eq!(before, expected);
        receiver.answer_all(IntakeAnswer::default());
        let output = agent.end(0);
        output.assert_once("unknown: 0, dropped: 0, overflowed: 0");
    }
}

/// A receiver that does not answer in the time that the user gives may have the metric.
#[test]
fn the_users_timeout_counts() {
    let receiver = Intake::start().expect("an intake");
    let delay = Duration::from_secs(600);
    receiver.answer_all(IntakeAnswer { delay, ..IntakeAnswer::default() });
    let output = start_and_send(&receiver, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "50")]).end(0);
    output.assert_once("sent: 0, unknown: 1, dropped: 0, overflowed: 0, failed: 0");
    output.assert_once("otlp may not have taken a metric: timeout");
}
