//! Answers of the Extensions and Telemetry APIs: refusals, broken connections, odd bodies.

use std::time::{Duration, Instant};

use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{INVOKE, Script, shutdown};

/// Holds an agent that waits for an event to its work: it counts, takes an INVOKE and ends by
/// SHUTDOWN.
fn assert_at_work(mut script: Script) -> super::support::script::AgentRecord {
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    script.end(1)
}

/// The same without telemetry.
fn assert_deaf(mut script: Script) -> super::support::script::AgentRecord {
    script.give(INVOKE);
    script.next();
    script.end(0)
}

#[test]
fn every_answer_is_the_usual_one() {
    let mut script = Script::start(&[]);
    let asked = script.register();
    assert_eq!(asked.body, r#"{"events":["INVOKE","SHUTDOWN"]}"#);
    let asked = script.subscribe();
    assert!(asked.body.contains(r#""schemaVersion":"2025-01-29""#), "{}", asked.body);
    assert!(asked.body.contains(&format!("sandbox.localdomain:{}", script.port)));
    script.next();
    for _ in 0..3 {
        script.give(INVOKE);
        script.next();
    }
    assert_at_work(script).warnings(0);
}

#[test]
fn without_invoke_events_it_registers_for_shutdown_only() {
    let mut script = Script::start(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "x")]);
    script.expect("POST /2020-01-01/extension/register");
    let error = r#"{"errorMessage":"INVOKE: ErrorInvalidEventType",
        "errorType":"Extension.InvalidEventType"}"#;
    script.answer(403, error);
    assert_eq!(script.register().body, r#"{"events":["SHUTDOWN"]}"#);
    script.subscribe();
    script.next();
    script.end(0).warnings(0);
}

#[test]
fn if_lambda_offers_no_event_the_agent_ends() {
    let mut script = Script::start(&[]);
    for _ in 0..2 {
        script.expect("POST /2020-01-01/extension/register");
        script.answer(403, r#"{"errorType":"Extension.InvalidEventType"}"#);
    }
    script.ended(1, 0).warnings(1);
}

#[test]
fn a_registration_that_is_refused() {
    for status in [400, 403, 404, 500] {
        let mut script = Script::start(&[]);
        script.expect("POST /2020-01-01/extension/register");
        script.answer(status, r#"{"errorMessage":"m","errorType":"Extension.Other"}"#);
        script.ended(1, 0).warnings(1).once(&status.to_string());
    }
}

#[test]
fn a_registration_without_an_identifier() {
    let mut script = Script::start(&[]);
    script.expect("POST /2020-01-01/extension/register");
    script.answer(200, "{}");
    script.ended(1, 0).once("Lambda-Extension-Identifier");
}

#[test]
fn a_registration_with_a_malformed_body() {
    for body in ["", "null", "[", r#"{"functionName":7}"#, &"x".repeat(100_000)] {
        let mut script = Script::start(&[]);
        script.expect("POST /2020-01-01/extension/register");
        let length = body.len();
        script.write(&format!(
            "HTTP/1.1 200 OK\r\nlambda-extension-identifier: i\r\n\
             content-length: {length}\r\n\r\n{body}"
        ));
        script.subscribe();
        script.next();
        assert_at_work(script).warnings(0);
    }
}

#[test]
fn a_registration_over_a_connection_that_breaks_is_tried_again() {
    let mut script = Script::start(&[]);
    for part in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"] {
        script.expect("POST /2020-01-01/extension/register");
        script.write(part);
        script.hang_up();
    }
    script.register();
    script.subscribe();
    script.next();
    assert_at_work(script).warnings(1);
}

/// The agent waits for the answer. Lambda would refuse a second registration.
#[test]
fn a_registration_is_waited_for() {
    let mut script = Script::start(&[]);
    script.expect("POST /2020-01-01/extension/register");
    script.silent(Duration::from_secs(7));
    script.registered();
    script.subscribe();
    script.next();
    assert_at_work(script).warnings(0);
}

#[test]
fn a_registration_whose_answer_is_lost() {
    let mut script = Script::start(&[]);
    script.expect("POST /2020-01-01/extension/register");
    script.hang_up();
    script.expect("POST /2020-01-01/extension/register");
    script.answer(403, r#"{"errorType":"Extension.InvalidExtensionState","errorMessage":"m"}"#);
    script.ended(1, 0).warnings(2).once("403 Extension.InvalidExtensionState");
}

/// The agent subscribes once. It asks for the first event over a new connection, so that a late
/// answer is ignored.
#[test]
fn a_telemetry_api_that_does_not_answer_does_not_hold_the_init() {
    let mut script = Script::start(&[]);
    script.register();
    script.expect("PUT /2022-07-01/telemetry");
    script.next();
    // Lambda had taken the subscription.
    assert_at_work(script).warnings(1).once("did not answer in time");
}

#[test]
fn a_telemetry_api_that_never_ends_its_answer_does_not_hold_the_init() {
    for begin in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "HTTP/1.1 500 X\r\nX: "]
    {
        let mut script = Script::start(&[]);
        script.register();
        script.expect("PUT /2022-07-01/telemetry");
        script.write(begin);
        script.trickle(b'\n');
        script.next();
        assert_deaf(script).warnings(1).once("did not answer in time");
    }
}

#[test]
fn an_older_schema_is_asked_for_if_the_newest_is_refused() {
    let mut script = Script::start(&[]);
    script.register();
    for schema in ["2025-01-29", "2022-12-13"] {
        let asked = script.expect("PUT /2022-07-01/telemetry");
        assert!(asked.body.contains(schema), "{}", asked.body);
        script.answer(400, r#"{"errorType":"ValidationError","errorMessage":"schemaVersion"}"#);
    }
    assert!(script.subscribe().body.contains(r#""schemaVersion":"2022-07-01""#));
    script.next();
    assert_at_work(script).warnings(0);
}

#[test]
fn no_telemetry_is_a_warning() {
    for (status, body) in [
        (202, r#"{"errorType":"Telemetry.NotSupported"}"#),
        (403, r#"{"errorType":"Extension.UnknownExtensionIdentifier"}"#),
        (404, ""),
    ] {
        let mut script = Script::start(&[]);
        script.register();
        script.expect("PUT /2022-07-01/telemetry");
        script.answer(status, body);
        script.next();
        assert_deaf(script).warnings(1).once("nothing will be detected");
    }
}

#[test]
fn every_schema_refused_is_a_warning() {
    let mut script = Script::start(&[]);
    script.register();
    for _ in 0..3 {
        script.expect("PUT /2022-07-01/telemetry");
        script.answer(400, "{}");
    }
    script.next();
    assert_deaf(script).warnings(1).once("400");
}

#[test]
fn a_subscription_that_fails_is_tried_three_times() {
    for status in [500, 503] {
        let mut script = Script::start(&[]);
        script.register();
        for _ in 0..3 {
            script.expect("PUT /2022-07-01/telemetry");
            script.answer(status, "");
        }
        script.next();
        assert_deaf(script).warnings(1).once(&status.to_string());
    }
}

#[test]
fn a_subscription_that_succeeds_late_counts() {
    let mut script = Script::start(&[]);
    script.register();
    script.expect("PUT /2022-07-01/telemetry");
    script.answer(500, "");
    script.expect("PUT /2022-07-01/telemetry");
    script.hang_up();
    script.subscribe();
    script.next();
    assert_at_work(script).warnings(0);
}

#[test]
fn a_subscription_over_connections_that_break() {
    let mut script = Script::start(&[]);
    script.register();
    for _ in 0..3 {
        script.expect("PUT /2022-07-01/telemetry");
        script.hang_up();
    }
    script.next();
    assert_deaf(script).warnings(1).once("nothing will be detected");
}

#[test]
fn next_refused_is_asked_again() {
    for status in [202, 301, 400, 403, 404, 429, 502, 503] {
        let mut script = Script::ready(&[]);
        for _ in 0..3 {
            script.answer(status, r#"{"errorType":"Extension.InvalidExtensionState"}"#);
            script.next();
        }
        assert_at_work(script).warnings(1).once(&format!("answered {status}"));
    }
}

/// AWS calls this not recoverable, and asks to exit promptly. The agent first counts what it knows.
#[test]
fn next_answered_500_ends_the_agent() {
    let mut script = Script::ready(&[]);
    script.give(INVOKE);
    script.next();
    let body = &bodies("100 start A\n 110 log java.lang.OutOfMemoryError: Java heap space")[0];
    assert_eq!(script.sender().post(body), 200);
    script.answer(500, r#"{"errorType":"ServiceError"}"#);
    script.ended(1, 1).warnings(1).once("500");
}

#[test]
fn next_over_a_connection_that_breaks_is_asked_again() {
    let mut script = Script::ready(&[]);
    for part in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"e"] {
        script.write(part);
        script.hang_up();
        script.next();
    }
    assert_at_work(script).warnings(1);
}

#[test]
fn an_event_that_is_not_http_is_asked_for_again() {
    let mut script = Script::ready(&[]);
    script.write("\x16\x03\x01 this is no answer\r\n\r\n");
    script.next();
    assert_at_work(script).warnings(1);
}

#[test]
fn a_malformed_event_is_asked_for_again() {
    let unknown = r#"{"eventType":"NEW","deadlineMs":1}"#;
    let many = format!(r#"{{"eventType":"INVOKE","x":"{}"}}"#, "x".repeat(200_000));
    for body in ["", "null", "{", "[[[[", r#"{"eventType":7}"#, unknown, &many] {
        let mut script = Script::ready(&[]);
        script.answer(200, body);
        script.next();
        assert_at_work(script);
    }
}

/// An event with `length` bytes of tracing that contain other events. Its members come in either
/// order.
fn with_tracing(event: &str, length: usize, is_first: bool) -> String {
    let members = event.trim_start_matches('{').trim_end_matches('}');
    let other = r#"{"eventType":"NEW","deadlineMs":1,"shutdownReason":"x"}"#;
    let text = other.replace('"', "\\\"").repeat(length / other.len());
    let tracing =
        format!(r#""tracing":{{"type":"X-Amzn-Trace-Id","other":{other},"value":"{text}"}}"#);
    if is_first { format!("{{{tracing},{members}}}") } else { format!("{{{members},{tracing}}}") }
}

/// The agent takes each at once. For an unknown event it would warn.
#[test]
fn an_invoke_of_any_size_is_an_invoke() {
    let mut script = Script::ready(&[]);
    for number in 0..50 {
        script.give(&with_tracing(INVOKE, 3000, number % 2 == 0));
        script.next();
    }
    for is_first in [true, false] {
        script.give(&with_tracing(INVOKE, 1_000_000, is_first));
        script.next();
    }
    assert_at_work(script).warnings(0);
}

/// Evidence that waits for SHUTDOWN counts when it comes.
#[test]
fn a_shutdown_of_any_size_is_a_shutdown() {
    for (length, is_first) in [(3000, true), (3000, false), (1_000_000, true), (1_000_000, false)] {
        let mut script = Script::ready(&[]);
        let body = &bodies("100 start A\n 110 log java.lang.OutOfMemoryError: Java heap space")[0];
        assert_eq!(script.sender().post(body), 200);
        script.give(&with_tracing(&shutdown("failure", 2000), length, is_first));
        script.ended(0, 1).warnings(0);
    }
}

/// With a growing pause they would take 95 s.
#[test]
fn events_of_an_unknown_type_do_not_hold_up_the_next() {
    let mut script = Script::ready(&[]);
    let begin = Instant::now();
    for _ in 0..100 {
        script.give(r#"{"eventType":"NEW","deadlineMs":1}"#);
        script.next();
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert_at_work(script).warnings(1).once("neither INVOKE nor SHUTDOWN");
}

#[test]
fn next_answered_byte_by_byte() {
    let mut script = Script::ready(&[]);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{INVOKE}", INVOKE.len());
    for byte in answer.chars() {
        script.write(byte.encode_utf8(&mut [0; 4]));
    }
    script.next();
    assert_at_work(script).warnings(0);
}

#[test]
fn next_answered_in_every_framing() {
    let mut script = Script::ready(&[]);
    let length = INVOKE.len();
    script.write(&format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{INVOKE}\r\n0\r\n\r\n"
    ));
    script.next();
    script.write(&format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: {length}"));
    script.write(&format!("\r\n\r\n{INVOKE}"));
    script.next();
    script.write(&format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{INVOKE}"
    ));
    script.hang_up();
    script.next();
    assert_at_work(script).warnings(0);
}

/// Lambda closes an idle connection. The next request opens another.
#[test]
fn a_kept_connection_that_is_closed_between_two_events() {
    let mut script = Script::ready(&[]);
    script.give(INVOKE);
    script.hang_up();
    script.next();
    assert_at_work(script);
}

#[test]
fn shutdown_reasons_in_any_spelling() {
    for reason in ["SPINDOWN", "timeout", "FAILURE", "ReleaseFail", "x", ""] {
        let mut script = Script::ready(&[]);
        script.give(&shutdown(reason, 2000));
        script.ended(0, 0).warnings(0);
    }
}

/// An answer without a length ends with its connection. A proxy or a test bed may send it so.
#[test]
fn next_answered_without_a_length() {
    let mut script = Script::ready(&[]);
    script.write(&format!("HTTP/1.0 200 OK\r\n\r\n{INVOKE}"));
    script.hang_up();
    script.next();
    assert_at_work(script).warnings(0);
}
