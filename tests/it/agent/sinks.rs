//! The network sink: how an intake can answer, and how often the agent sends.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use sandbox::{Intake, IntakeAnswer, ShutdownReason, Switches};
use serde_json::{Value, json};

use super::support::sandboxed_agent::{Life, LifeRecord, OOM};

/// Runs an agent whose detections go to `url`. SHUTDOWN leaves it 500 ms, so a dead sink costs no
/// more.
fn to(url: &str) -> Life {
    let limit = Duration::from_millis(500);
    Life::with(|builder| {
        builder
            .switches(Switches { shutdown_limit: limit, ..Switches::default() })
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", url)
    })
}

/// One detection while the agent holds no turn, then an INVOKE.
fn sent_to(url: &str) -> Life {
    let mut life = to(url);
    life.invoke("A");
    life.tell(OOM);
    life.invoke("B");
    life
}

/// Holds the agent to one sentence, and to the tally of its last line.
fn assert_tally(said: &LifeRecord, tally: &str) {
    assert_eq!(said.sentences(), 1, "{:?}", said.errors(""));
    said.once(tally);
}

fn points(intake: &Intake, expected: f64) {
    assert!((intake.points() - expected).abs() < f64::EPSILON, "{:?}", intake.requests());
}

#[test]
fn one_point_goes_out_at_the_next_invoke() {
    let intake = Intake::start().expect("an intake");
    let mut life = to(&intake.http_url());
    life.invoke("A");
    life.tell(OOM);
    assert!(intake.requests().is_empty(), "nobody sends while the environment may freeze");
    life.invoke("B");
    points(&intake, 1.0);
    let said = life.end(0);
    assert_tally(&said, "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 0");
    said.quietly();
    assert_eq!(intake.requests().len(), 1);
}

#[test]
fn one_point_goes_out_in_shutdown() {
    let intake = Intake::start().expect("an intake");
    let mut life = to(&intake.http_url());
    life.invoke("A");
    life.tell(OOM);
    let said = life.end_by(ShutdownReason::Failure, 0);
    points(&intake, 1.0);
    assert_tally(&said, "sent: 1,");
    said.quietly();
}

#[test]
fn the_request_is_datadogs() {
    let intake = Intake::start().expect("an intake");
    sent_to(&intake.http_url()).end(0).quietly();
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

/// Datadog takes no point older than an hour. The point gets the present time, and a tag says so.
#[test]
fn a_point_that_is_too_old_is_late() {
    let intake = Intake::start().expect("an intake");
    let mut life = to(&intake.http_url());
    life.invoke("A");
    life.post(
        br#"[{"time":"2022-10-12T00:00:00.000Z","type":"platform.report","record":{"requestId":"A",
            "status":"error","errorType":"Runtime.OutOfMemory","metrics":{"memorySizeMB":128}}}]"#,
    );
    life.invoke("B");
    let body: Value = serde_json::from_slice(&intake.requests()[0].body).expect("JSON");
    let series = &body["series"][0];
    assert!(series["tags"].as_array().is_some_and(|tags| tags.contains(&json!("late:true"))));
    assert!(series["points"][0][0].as_u64().is_some_and(|time| time > 1_700_000_000), "{series}");
    life.end(0).quietly();
}

#[test]
fn over_tls_by_the_authority_of_the_user() {
    let intake = Intake::start().expect("an intake");
    let mut life = Life::with(|builder| {
        builder
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.https_url())
            .variable("SSL_CERT_FILE", intake.ca_file().to_string_lossy())
    });
    life.invoke("A");
    life.tell(OOM);
    life.invoke("B");
    points(&intake, 1.0);
    assert!(intake.requests()[0].tls);
    let said = life.end(0);
    assert_tally(&said, "sent: 1,");
    said.quietly();
}

/// Mozilla's roots do not include the intake's. Nothing is handed over, not even in SHUTDOWN.
#[test]
fn a_certificate_of_an_unknown_authority() {
    let intake = Intake::start().expect("an intake");
    let said = sent_to(&intake.https_url()).end(0);
    assert!(intake.requests().is_empty());
    said.once("has not taken a metric yet");
    assert_tally(&said, "sent: 0, unknown: 0, dropped: 0,");
}

#[test]
fn a_refused_detection_is_dropped_with_one_line() {
    for status in [301, 400, 403, 404, 413] {
        let intake = Intake::start().expect("an intake");
        intake.answer_all(IntakeAnswer::status(status));
        let mut life = sent_to(&intake.http_url());
        life.invoke("C");
        let said = life.end(0);
        assert_eq!(intake.requests().len(), 1, "{status}");
        said.once(&format!("datadog has refused a metric: it answered {status}"));
        assert_tally(&said, "sent: 0, unknown: 0, dropped: 1, overflowed: 0, failed: 0");
    }
}

#[test]
fn an_untaken_detection_goes_out_at_the_next_turn() {
    for status in [408, 429, 500, 503] {
        let intake = Intake::start().expect("an intake");
        intake.answer_next(IntakeAnswer::status(status));
        let mut life = sent_to(&intake.http_url());
        assert_eq!(intake.requests().len(), 1, "one try a turn");
        life.invoke("C");
        points(&intake, 1.0);
        let said = life.end(0);
        assert_eq!(intake.requests().len(), 2, "{status}");
        said.once("has not taken a metric yet");
        assert_tally(&said, "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 1");
    }
}

#[test]
fn an_untaken_detection_goes_out_in_shutdown() {
    let intake = Intake::start().expect("an intake");
    intake.answer_next(IntakeAnswer::status(503));
    let life = sent_to(&intake.http_url());
    // Twice in SHUTDOWN: not taken, then taken.
    intake.answer_next(IntakeAnswer::status(429));
    let said = life.end_by(ShutdownReason::Failure, 0);
    points(&intake, 1.0);
    assert_eq!(intake.requests().len(), 3);
    assert_tally(&said, "sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 2");
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
        let mut life = sent_to(&intake.http_url());
        life.invoke("C");
        let said = life.end(0);
        assert_eq!(intake.requests().len(), 1, "{why}");
        said.once(why);
        assert_tally(&said, "sent: 0, unknown: 1, dropped: 0, overflowed: 0, failed: 0");
    }
}

/// The intake has the request and does not answer. The turn still ends, and the function goes on.
#[test]
fn an_intake_that_hangs_holds_no_function() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer { delay: Duration::from_secs(600), ..IntakeAnswer::default() });
    let mut life = sent_to(&intake.http_url());
    life.invoke("C");
    let said = life.end(0);
    assert_eq!(intake.requests().len(), 1);
    assert_tally(&said, "sent: 0, unknown: 1, dropped: 0,");
}

/// The agent kills the child before the deadline of SHUTDOWN, and ends in time.
#[test]
fn an_intake_that_hangs_in_shutdown() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer { delay: Duration::from_secs(600), ..IntakeAnswer::default() });
    let mut life = to(&intake.http_url());
    life.invoke("A");
    life.tell(OOM);
    let said = life.end_by(ShutdownReason::Failure, 0);
    assert_eq!(intake.requests().len(), 1);
    said.once("sending to datadog was cut short: Unknown");
    assert_tally(&said, "sent: 0, unknown: 1, dropped: 0,");
}

/// The connection opens, but TLS fails. So the intake has surely not taken it.
#[test]
fn a_peer_that_never_speaks_tls() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let said = sent_to(&url).end_by(ShutdownReason::Failure, 0);
    assert_tally(&said, "sent: 0, unknown: 0, dropped: 0,");
}

#[test]
fn a_connection_that_is_refused() {
    let closed = super::support::cost::port();
    let said = sent_to(&format!("http://127.0.0.1:{closed}")).end(0);
    said.once("has not taken a metric yet");
    assert_tally(&said, "sent: 0, unknown: 0, dropped: 0,");
}

/// After three failures in a row a dead sink is left alone until SHUTDOWN.
#[test]
fn a_dead_sink_is_tried_three_times() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer::status(503));
    let mut life = sent_to(&intake.http_url());
    for id in ["C", "D", "E", "F"] {
        life.invoke(id);
    }
    assert_eq!(intake.requests().len(), 3);
    intake.answer_all(IntakeAnswer::default());
    life.end(0);
    points(&intake, 1.0);
}

#[test]
fn both_sinks_are_used_if_both_are_named() {
    let intake = Intake::start().expect("an intake");
    let mut life = Life::with(|builder| {
        builder
            .variable("OOM_WITNESS_SINKS", "datadog, emf")
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
    });
    life.invoke("A");
    life.tell(OOM);
    life.invoke("B");
    points(&intake, 1.0);
    let said = life.end(1);
    assert_eq!(said.sentences(), 1);
    said.quietly();
}

#[test]
fn only_emf_is_used_if_only_emf_is_named() {
    let intake = Intake::start().expect("an intake");
    let mut life = Life::with(|builder| {
        builder
            .variable("OOM_WITNESS_SINKS", "emf")
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
    });
    life.invoke("A");
    life.tell(OOM);
    life.invoke("B");
    let said = life.end(1);
    assert_eq!((said.sentences(), intake.requests().len()), (0, 0));
    said.quietly();
}
