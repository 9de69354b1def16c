//! Answers to the registration: broken connections, odd bodies. Refusals are in `refusals`.

use std::time::Duration;

use super::assert_works;
use crate::agent::support::script::Script;

#[test]
fn a_registration_answered_without_an_identifier_ends_the_agent() {
    let mut script = Script::start(&[]);
    script.expect_request("POST /2020-01-01/extension/register");
    script.answer(200, "{}");
    script.wait_for_end(1, 0).assert_once("Lambda-Extension-Identifier");
}

#[test]
fn a_registration_answered_with_a_malformed_body_is_accepted() {
    for body in ["", "null", "[", r#"{"functionName":7}"#, &"x".repeat(100_000)] {
        let mut script = Script::start(&[]);
        script.expect_request("POST /2020-01-01/extension/register");
        let length = body.len();
        script.write(&format!(
            "HTTP/1.1 200 OK\r\nlambda-extension-identifier: i\r\n\
             content-length: {length}\r\n\r\n{body}"
        ));
        script.accept_subscription();
        script.wait_for_next();
        assert_works(script).assert_warnings(0);
    }
}

#[test]
fn a_registration_whose_connection_breaks_is_sent_again() {
    let mut script = Script::start(&[]);
    for part in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"] {
        script.expect_request("POST /2020-01-01/extension/register");
        script.write(part);
        script.close();
    }
    script.accept_registration();
    script.accept_subscription();
    script.wait_for_next();
    assert_works(script).assert_warnings(1);
}

/// Lambda would refuse a second registration.
#[test]
fn the_agent_waits_for_the_answer_to_its_registration() {
    let mut script = Script::start(&[]);
    script.expect_request("POST /2020-01-01/extension/register");
    script.assert_silent(Duration::from_secs(7));
    script.answer_registration();
    script.accept_subscription();
    script.wait_for_next();
    assert_works(script).assert_warnings(0);
}

#[test]
fn a_registration_whose_answer_is_lost_ends_the_agent() {
    let mut script = Script::start(&[]);
    script.expect_request("POST /2020-01-01/extension/register");
    script.close();
    script.expect_request("POST /2020-01-01/extension/register");
    script.answer(403, r#"{"errorType":"Extension.InvalidExtensionState","errorMessage":"m"}"#);
    script.wait_for_end(1, 0).assert_warnings(2).assert_once("403 Extension.InvalidExtensionState");
}
