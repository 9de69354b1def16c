//! Lambda's APIs answer with an error status: 400 to 500.
//!
//! A refused registration ends the agent, since Lambda does not accept it. So does a 500 to the
//! request for the next event. After every other refusal the agent goes on.

use super::{assert_works, assert_works_without_telemetry};
use crate::agent::support::bodies::bodies;
use crate::agent::support::script::Script;

/// An invocation that is open, with evidence that waits for its end.
const MENTION_IN_AN_OPEN_INVOCATION: &str =
    "100 start A\n 110 log java.lang.OutOfMemoryError: Java heap space";

#[test]
fn if_lambda_refuses_invoke_events_the_agent_registers_for_shutdown_only() {
    let mut script = Script::start(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "x")]);
    script.expect_request("POST /2020-01-01/extension/register");
    let error = r#"{"errorMessage":"INVOKE: ErrorInvalidEventType",
        "errorType":"Extension.InvalidEventType"}"#;
    script.answer(403, error);
    assert_eq!(script.accept_registration().body, r#"{"events":["SHUTDOWN"]}"#);
    script.accept_subscription();
    script.wait_for_next();
    script.end(0).assert_warnings(0);
}

#[test]
fn if_lambda_refuses_all_events_the_agent_ends() {
    let mut script = Script::start(&[]);
    for _ in 0..2 {
        script.expect_request("POST /2020-01-01/extension/register");
        script.answer(403, r#"{"errorType":"Extension.InvalidEventType"}"#);
    }
    script.wait_for_end(1, 0).assert_warnings(1);
}

#[test]
fn a_refused_registration_ends_the_agent() {
    for status in [400, 403, 404, 500] {
        let mut script = Script::start(&[]);
        script.expect_request("POST /2020-01-01/extension/register");
        script.answer(status, r#"{"errorMessage":"m","errorType":"Extension.Other"}"#);
        script.wait_for_end(1, 0).assert_warnings(1).assert_once(&status.to_string());
    }
}

#[test]
fn if_the_newest_schema_is_refused_the_agent_asks_for_an_older_one() {
    let mut script = Script::start(&[]);
    script.accept_registration();
    for schema in ["2025-01-29", "2022-12-13"] {
        let subscription = script.expect_request("PUT /2022-07-01/telemetry");
        assert!(subscription.body.contains(schema), "{}", subscription.body);
        script.answer(400, r#"{"errorType":"ValidationError","errorMessage":"schemaVersion"}"#);
    }
    assert!(script.accept_subscription().body.contains(r#""schemaVersion":"2022-07-01""#));
    script.wait_for_next();
    assert_works(script).assert_warnings(0);
}

#[test]
fn a_refused_subscription_is_one_warning() {
    for (status, body) in [
        (202, r#"{"errorType":"Telemetry.NotSupported"}"#),
        (403, r#"{"errorType":"Extension.UnknownExtensionIdentifier"}"#),
        (404, ""),
    ] {
        let mut script = Script::start(&[]);
        script.accept_registration();
        script.expect_request("PUT /2022-07-01/telemetry");
        script.answer(status, body);
        script.wait_for_next();
        assert_works_without_telemetry(script)
            .assert_warnings(1)
            .assert_once("nothing will be detected");
    }
}

#[test]
fn if_every_schema_is_refused_the_agent_warns_once() {
    let mut script = Script::start(&[]);
    script.accept_registration();
    for _ in 0..3 {
        script.expect_request("PUT /2022-07-01/telemetry");
        script.answer(400, "{}");
    }
    script.wait_for_next();
    assert_works_without_telemetry(script).assert_warnings(1).assert_once("400");
}

#[test]
fn after_a_refusal_the_agent_asks_for_the_next_event_again() {
    for status in [202, 301, 400, 403, 404, 429, 502, 503] {
        let mut script = Script::start_ready(&[]);
        for _ in 0..3 {
            script.answer(status, r#"{"errorType":"Extension.InvalidExtensionState"}"#);
            script.wait_for_next();
        }
        assert_works(script).assert_warnings(1).assert_once(&format!("answered {status}"));
    }
}

/// AWS calls this error not recoverable, and asks extensions to exit promptly. The agent first
/// counts what it knows.
#[test]
fn an_answer_of_500_ends_the_agent_after_it_has_counted() {
    let mut script = Script::start_ready(&[]);
    script.invoke();
    let body = &bodies(MENTION_IN_AN_OPEN_INVOCATION)[0];
    script.post(body);
    script.answer(500, r#"{"errorType":"ServiceError"}"#);
    script.wait_for_end(1, 1).assert_warnings(1).assert_once("500");
}
