//! The network sink: how an intake can answer, and how often the agent sends.
//!
//! The process that sends is tested in `child`, many detections at once in `many_detections`, and
//! standard output in `streams`.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use sandbox::{Intake, IntakeAnswer, ShutdownReason, Switches};
use serde_json::{Value, json};

use super::support::bodies::OOM;
use super::support::intakes::{assert_points, hanging_intake};
use super::support::ports::free_port;
use super::support::sandboxed_agent::{SandboxedAgent, SandboxedOutput};

/// Starts an agent whose detections go to `url`. SHUTDOWN leaves it 500 ms, so a test with a dead
/// sink takes no longer.
fn start_with_sink(url: &str) -> SandboxedAgent {
    let limit = Duration::from_millis(500);
    SandboxedAgent::start_with(|builder| {
        builder
            .switches(Switches { shutdown_limit: limit, ..Switches::default() })
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", url)
    })
}

/// The same. The agent has a detection while it may not send. Then INVOKE lets it send.
fn start_and_send(url: &str) -> SandboxedAgent {
    let mut agent = start_with_sink(url);
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.invoke("B");
    agent
}

/// Checks that there is one sentence for a human, and the tally of the last line.
fn assert_tally(output: &SandboxedOutput, tally: &str) {
    assert_eq!(output.count_sentences(), 1, "{:?}", output.stderr_lines(""));
    output.assert_once(tally);
}

#[test]
fn one_point_goes_out_at_the_next_invoke() {
    let intake = Intake::start().expect("an intake");
    let mut agent = start_with_sink(&intake.http_url());
    agent.invoke("A");
    agent.post_scenario(OOM);
    assert!(intake.requests().is_empty(), "the agent sends although the environment may freeze");
    agent.invoke("B");
    assert_points(&intake, 1);
    let output = agent.end(0);
    assert_tally(&output, "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 0");
    output.assert_no_warning();
    assert_eq!(intake.requests().len(), 1);
}

#[test]
fn one_point_goes_out_in_shutdown() {
    let intake = Intake::start().expect("an intake");
    let mut agent = start_with_sink(&intake.http_url());
    agent.invoke("A");
    agent.post_scenario(OOM);
    let output = agent.end_by(ShutdownReason::Failure, 0);
    assert_points(&intake, 1);
    assert_tally(&output, "sent: 1,");
    output.assert_no_warning();
}

#[test]
fn the_request_is_what_datadog_expects() {
    let intake = Intake::start().expect("an intake");
    start_and_send(&intake.http_url()).end(0).assert_no_warning();
    let request = intake.requests().remove(0);
    assert_eq!((request.method.as_str(), request.tls), ("POST", false));
    assert_eq!(request.path, "/api/v1/distribution_points");
    for (name, value) in [("dd-api-key", "the-key"), ("content-type", "application/json")] {
        let header = request.headers.iter().find(|header| header.0 == name);
        assert_eq!(header.map(|header| header.1.as_str()), Some(value), "{name}");
    }
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let series = &body["series"][0];
    assert_eq!(series["metric"], "aws.lambda.enhanced.out_of_memory");
    assert_eq!(series["type"], "distribution");
    assert_eq!(series["points"][0][1], json!([1.0]));
    let tags = series["tags"].as_array().expect("tags");
    for tag in [
        "confidence:confirmed",
        "evidence:error_type",
        "functionname:sandbox-function",
        "region:us-east-1",
        "account_id:123456789012",
        "memorysize:192",
        "init_type:on-demand",
    ] {
        assert!(tags.contains(&json!(tag)), "{tag}: {tags:?}");
    }
}

/// Datadog takes no point older than an hour.
#[test]
fn a_point_that_is_too_old_gets_the_present_time_and_a_tag() {
    let intake = Intake::start().expect("an intake");
    let mut agent = start_with_sink(&intake.http_url());
    agent.invoke("A");
    agent.post(
        br#"[{"time":"2022-10-12T00:00:00.000Z","type":"platform.report","record":{"requestId":"A",
            "status":"error","errorType":"Runtime.OutOfMemory","metrics":{"memorySizeMB":128}}}]"#,
    );
    agent.invoke("B");
    let body: Value = serde_json::from_slice(&intake.requests()[0].body).expect("JSON");
    let series = &body["series"][0];
    assert!(series["tags"].as_array().is_some_and(|tags| tags.contains(&json!("late:true"))));
    assert!(series["points"][0][0].as_u64().is_some_and(|time| time > 1_700_000_000), "{series}");
    agent.end(0).assert_no_warning();
}

#[test]
fn a_certificate_of_the_users_authority_is_trusted() {
    let intake = Intake::start().expect("an intake");
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.https_url())
            .variable("SSL_CERT_FILE", intake.ca_file().to_string_lossy())
    });
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.invoke("B");
    assert_points(&intake, 1);
    assert!(intake.requests()[0].tls);
    let output = agent.end(0);
    assert_tally(&output, "sent: 1,");
    output.assert_no_warning();
}

/// Mozilla's roots do not include the intake's. Nothing is sent, not even in SHUTDOWN.
#[test]
fn with_a_certificate_of_an_unknown_authority_nothing_is_sent() {
    let intake = Intake::start().expect("an intake");
    let output = start_and_send(&intake.https_url()).end(0);
    assert!(intake.requests().is_empty());
    output.assert_once("has not taken a metric yet");
    assert_tally(&output, "sent: 0, unknown: 0, dropped: 0,");
}

#[test]
fn a_refused_detection_is_dropped_with_one_line() {
    for status in [301, 400, 403, 404, 413] {
        let intake = Intake::start().expect("an intake");
        intake.answer_all(IntakeAnswer::status(status));
        let mut agent = start_and_send(&intake.http_url());
        agent.invoke("C");
        let output = agent.end(0);
        assert_eq!(intake.requests().len(), 1, "{status}");
        output.assert_once(&format!("datadog has refused a metric: it answered {status}"));
        assert_tally(&output, "sent: 0, unknown: 0, dropped: 1, overflowed: 0, failed: 0");
    }
}

#[test]
fn a_detection_that_was_not_taken_goes_out_at_the_next_turn() {
    for status in [408, 429, 500, 503] {
        let intake = Intake::start().expect("an intake");
        intake.answer_next(IntakeAnswer::status(status));
        let mut agent = start_and_send(&intake.http_url());
        assert_eq!(intake.requests().len(), 1, "more than one try before the next event");
        agent.invoke("C");
        assert_points(&intake, 1);
        let output = agent.end(0);
        assert_eq!(intake.requests().len(), 2, "{status}");
        output.assert_once("has not taken a metric yet");
        assert_tally(&output, "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 1");
    }
}

#[test]
fn a_detection_that_was_not_taken_goes_out_in_shutdown() {
    let intake = Intake::start().expect("an intake");
    intake.answer_next(IntakeAnswer::status(503));
    let agent = start_and_send(&intake.http_url());
    // Twice in SHUTDOWN: not taken, then taken.
    intake.answer_next(IntakeAnswer::status(429));
    let output = agent.end_by(ShutdownReason::Failure, 0);
    assert_points(&intake, 1);
    assert_eq!(intake.requests().len(), 3);
    assert_tally(&output, "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 2");
}

#[test]
fn a_detection_that_may_have_been_taken_is_not_sent_again() {
    for (answer, why) in [
        (IntakeAnswer::reset(), "may not have taken a metric"),
        (IntakeAnswer::status(502), "it answered 502"),
        (IntakeAnswer::status(504), "it answered 504"),
    ] {
        let intake = Intake::start().expect("an intake");
        intake.answer_next(answer);
        let mut agent = start_and_send(&intake.http_url());
        agent.invoke("C");
        let output = agent.end(0);
        assert_eq!(intake.requests().len(), 1, "{why}");
        output.assert_once(why);
        assert_tally(&output, "sent: 0, unknown: 1, dropped: 0, overflowed: 0, failed: 0");
    }
}

/// The intake has the request and does not answer. The agent still asks for the next event.
#[test]
fn an_intake_that_hangs_does_not_hold_up_the_function() {
    let intake = hanging_intake();
    let mut agent = start_and_send(&intake.http_url());
    agent.invoke("C");
    let output = agent.end(0);
    assert_eq!(intake.requests().len(), 1);
    assert_tally(&output, "sent: 0, unknown: 1, dropped: 0,");
}

/// The agent kills the child before the deadline, and ends in time.
#[test]
fn an_intake_that_hangs_does_not_hold_up_shutdown() {
    let intake = hanging_intake();
    let mut agent = start_with_sink(&intake.http_url());
    agent.invoke("A");
    agent.post_scenario(OOM);
    let output = agent.end_by(ShutdownReason::Failure, 0);
    assert_eq!(intake.requests().len(), 1);
    output.assert_once("sending to datadog was cut short: Unknown");
    assert_tally(&output, "sent: 0, unknown: 1, dropped: 0,");
}

/// The connection opens, but TLS fails. So the peer has no detection.
#[test]
fn a_peer_that_never_speaks_tls_has_taken_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let output = start_and_send(&url).end_by(ShutdownReason::Failure, 0);
    assert_tally(&output, "sent: 0, unknown: 0, dropped: 0,");
}

#[test]
fn a_sink_that_refuses_the_connection_has_taken_nothing() {
    let unused = free_port();
    let output = start_and_send(&format!("http://127.0.0.1:{unused}")).end(0);
    output.assert_once("has not taken a metric yet");
    assert_tally(&output, "sent: 0, unknown: 0, dropped: 0,");
}

/// After three failures in a row, the agent sends no more until SHUTDOWN.
#[test]
fn a_dead_sink_is_tried_three_times() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer::status(503));
    let mut agent = start_and_send(&intake.http_url());
    for id in ["C", "D", "E", "F"] {
        agent.invoke(id);
    }
    assert_eq!(intake.requests().len(), 3);
    intake.answer_all(IntakeAnswer::default());
    agent.end(0);
    assert_points(&intake, 1);
}

#[test]
fn both_sinks_are_used_if_both_are_named() {
    let intake = Intake::start().expect("an intake");
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder
            .variable("OOM_WITNESS_SINKS", "datadog, emf")
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
    });
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.invoke("B");
    assert_points(&intake, 1);
    let output = agent.end(1);
    assert_eq!(output.count_sentences(), 1);
    output.assert_no_warning();
}

#[test]
fn only_emf_is_used_if_only_emf_is_named() {
    let intake = Intake::start().expect("an intake");
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder
            .variable("OOM_WITNESS_SINKS", "emf")
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
    });
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.invoke("B");
    let output = agent.end(1);
    assert_eq!((output.count_sentences(), intake.requests().len()), (0, 0));
    output.assert_no_warning();
}
