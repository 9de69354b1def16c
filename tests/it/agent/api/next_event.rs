//! Answers to the request for the next event: broken connections, odd events, INVOKE and SHUTDOWN
//! of any size. Refusals are in `refusals`.

use std::time::{Duration, Instant};

use super::assert_works;
use crate::agent::support::bodies::bodies;
use crate::agent::support::script::{INVOKE, Script, shutdown};

/// An invocation that is open, with evidence that waits for its end.
const MENTION_IN_AN_OPEN_INVOCATION: &str =
    "100 start A\n 110 log java.lang.OutOfMemoryError: Java heap space";

#[test]
fn after_a_broken_connection_the_agent_asks_for_the_next_event_again() {
    let mut script = Script::start_ready(&[]);
    for part in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"e"] {
        script.write(part);
        script.close();
        script.wait_for_next();
    }
    assert_works(script).assert_warnings(1);
}

#[test]
fn after_an_answer_that_is_not_http_the_agent_asks_again() {
    let mut script = Script::start_ready(&[]);
    script.write("\x16\x03\x01 this is no answer\r\n\r\n");
    script.wait_for_next();
    assert_works(script).assert_warnings(1);
}

#[test]
fn after_a_malformed_event_the_agent_asks_again() {
    let unknown = r#"{"eventType":"NEW","deadlineMs":1}"#;
    let long = format!(r#"{{"eventType":"INVOKE","x":"{}"}}"#, "x".repeat(200_000));
    for body in ["", "null", "{", "[[[[", r#"{"eventType":7}"#, unknown, &long] {
        let mut script = Script::start_ready(&[]);
        script.answer(200, body);
        script.wait_for_next();
        assert_works(script);
    }
}

/// An event with `length` bytes of tracing that contain other events. The tracing comes before the
/// event's own members if it `is_first`, else after them.
fn with_tracing(event: &str, length: usize, is_first: bool) -> String {
    let members = event.trim_start_matches('{').trim_end_matches('}');
    let other = r#"{"eventType":"NEW","deadlineMs":1,"shutdownReason":"x"}"#;
    let text = other.replace('"', "\\\"").repeat(length / other.len());
    let tracing =
        format!(r#""tracing":{{"type":"X-Amzn-Trace-Id","other":{other},"value":"{text}"}}"#);
    if is_first { format!("{{{tracing},{members}}}") } else { format!("{{{members},{tracing}}}") }
}

/// The agent takes each at once and without a warning. It would warn of an unknown event.
#[test]
fn an_invoke_of_any_size_is_an_invoke() {
    let mut script = Script::start_ready(&[]);
    for number in 0..50 {
        script.send_event(&with_tracing(INVOKE, 3000, number % 2 == 0));
        script.wait_for_next();
    }
    for is_first in [true, false] {
        script.send_event(&with_tracing(INVOKE, 1_000_000, is_first));
        script.wait_for_next();
    }
    assert_works(script).assert_warnings(0);
}

/// Evidence that waits for SHUTDOWN then counts.
#[test]
fn a_shutdown_of_any_size_is_a_shutdown() {
    for (length, is_first) in [(3000, true), (3000, false), (1_000_000, true), (1_000_000, false)] {
        let mut script = Script::start_ready(&[]);
        let body = &bodies(MENTION_IN_AN_OPEN_INVOCATION)[0];
        script.post(body);
        script.send_event(&with_tracing(&shutdown("failure", 2000), length, is_first));
        script.wait_for_end(0, 1).assert_warnings(0);
    }
}

/// If the pause grew after each, they would take 95 s.
#[test]
fn events_of_an_unknown_type_do_not_hold_up_the_next() {
    let mut script = Script::start_ready(&[]);
    let begin = Instant::now();
    for _ in 0..100 {
        script.send_event(r#"{"eventType":"NEW","deadlineMs":1}"#);
        script.wait_for_next();
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert_works(script).assert_warnings(1).assert_once("neither INVOKE nor SHUTDOWN");
}

#[test]
fn an_event_may_arrive_byte_by_byte() {
    let mut script = Script::start_ready(&[]);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{INVOKE}", INVOKE.len());
    for byte in answer.chars() {
        script.write(byte.encode_utf8(&mut [0; 4]));
    }
    script.wait_for_next();
    assert_works(script).assert_warnings(0);
}

#[test]
fn an_event_may_arrive_in_every_http_framing() {
    let mut script = Script::start_ready(&[]);
    let length = INVOKE.len();
    script.write(&format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{INVOKE}\r\n0\r\n\r\n"
    ));
    script.wait_for_next();
    script.write(&format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: {length}"));
    script.write(&format!("\r\n\r\n{INVOKE}"));
    script.wait_for_next();
    script.write(&format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{INVOKE}"
    ));
    script.close();
    script.wait_for_next();
    assert_works(script).assert_warnings(0);
}

/// The next request opens another connection.
#[test]
fn lambda_may_close_the_connection_between_two_events() {
    let mut script = Script::start_ready(&[]);
    script.send_event(INVOKE);
    script.close();
    script.wait_for_next();
    assert_works(script);
}

#[test]
fn any_shutdown_reason_ends_the_agent_without_a_warning() {
    for reason in ["SPINDOWN", "timeout", "FAILURE", "ReleaseFail", "x", ""] {
        let mut script = Script::start_ready(&[]);
        script.send_event(&shutdown(reason, 2000));
        script.wait_for_end(0, 0).assert_warnings(0);
    }
}

/// Such an answer ends with its connection. A proxy or a test environment may send it.
#[test]
fn an_event_may_arrive_without_a_length() {
    let mut script = Script::start_ready(&[]);
    script.write(&format!("HTTP/1.0 200 OK\r\n\r\n{INVOKE}"));
    script.close();
    script.wait_for_next();
    assert_works(script).assert_warnings(0);
}
