//! What subscribers are sent.

use std::time::Duration;

use sandbox::{Behavior, Environment, LogFormat, ShutdownReason, Status, Switches, Work};
use serde_json::Value;

use crate::free;

/// The events of all requests that were answered with 200.
fn delivered(environment: &Environment) -> Vec<Value> {
    let posted = environment.posted();
    let taken = posted.iter().filter(|posted| posted.status == Some(200));
    taken
        .flat_map(|posted| serde_json::from_slice::<Vec<Value>>(&posted.body).expect("JSON"))
        .collect()
}

fn records(environment: &Environment) -> Vec<Value> {
    let events = delivered(environment);
    let function = events.into_iter().filter(|event| event["type"] == "function");
    function.map(|event| event["record"].clone()).collect()
}

fn ran(switches: Switches, format: LogFormat, words: &str, work: &Work) -> Environment {
    let builder = free(words).switches(switches).log_format(format);
    let mut environment = builder.start().expect("an environment");
    let outcome = environment.invoke(&work.payload()).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    environment
}

fn flushed() -> Switches {
    Switches { shutdown_flush: sandbox::ShutdownFlush::Before, ..Switches::default() }
}

#[test]
fn each_line_and_each_frame_is_a_record() {
    let work = Work {
        frames: vec!["[ERROR] MemoryError\nTraceback".into()],
        ..Work::new(Behavior::Succeed).lines(["one", "two"])
    };
    let environment = ran(flushed(), LogFormat::Text, "", &work);
    let mut records = records(&environment);
    records.sort_by_key(Value::to_string);
    assert_eq!(records, ["[ERROR] MemoryError\nTraceback", "one\n", "two\n"]);
}

#[test]
fn the_json_format_has_objects() {
    let work = Work::new(Behavior::Succeed).lines(["plain", r#"{"level":"WARN"}"#]);
    let environment = ran(flushed(), LogFormat::Json, "", &work);
    let records = records(&environment);
    assert_eq!(records[0]["message"], "plain");
    assert_eq!(records[1], serde_json::json!({"level": "WARN"}));
}

#[test]
fn a_late_subscriber_gets_every_event() {
    let environment = ran(flushed(), LogFormat::Text, "", &Work::new(Behavior::Succeed));
    let delivered = delivered(&environment);
    let has = |kind: &str| delivered.iter().any(|event| event["type"] == kind);
    for kind in ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"] {
        assert!(has(&format!("platform.{kind}")), "{kind}");
    }
}

#[test]
fn a_refused_request_is_sent_again() {
    let work = Work::new(Behavior::Succeed);
    let environment = ran(flushed(), LogFormat::Text, "reject-first", &work);
    let posted = environment.posted();
    assert_eq!(posted[0].status, Some(500));
    assert_eq!((posted[1].status, &posted[1].body), (Some(200), &posted[0].body));
}

#[test]
fn a_request_that_is_not_sent_again_is_reported_as_dropped() {
    let switches = Switches { resend: false, ..flushed() };
    let work = Work::new(Behavior::Succeed);
    let environment = ran(switches, LogFormat::Text, "reject-first", &work);
    let delivered = delivered(&environment);
    assert!(delivered.iter().any(|event| event["type"] == "platform.logsDropped"));
}

#[test]
fn requests_can_be_sent_twice() {
    let switches = Switches { duplicate: true, ..flushed() };
    let environment = ran(switches, LogFormat::Text, "", &Work::new(Behavior::Succeed));
    let posted = environment.posted();
    assert_eq!(posted[0].body, posted[1].body);
}

#[test]
fn a_record_above_the_limit_is_cut() {
    let line = "A".repeat(600_000);
    let work = Work::new(Behavior::Succeed).lines([line]);
    let environment = ran(flushed(), LogFormat::Text, "", &work);
    let posted = environment.posted();
    let cut: Vec<_> = posted
        .iter()
        .filter(|posted| serde_json::from_slice::<Value>(&posted.body).is_err())
        .collect();
    assert!(cut.len() >= 3, "{} pieces", cut.len());
    let count: usize =
        cut.iter().map(|posted| posted.body.iter().filter(|byte| **byte == b'A').count()).sum();
    assert!(count >= 600_000);
}

#[test]
fn a_deaf_listener_does_not_hold_the_invocation() {
    let builder = free("deaf").timeout(Duration::from_secs(60));
    let mut environment = builder.start().expect("an environment");
    let outcome = environment.invoke(&Work::new(Behavior::Succeed).payload()).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
}
