//! Answers of the Telemetry API to the subscription: silence, broken connections. Refusals are in
//! `refusals`.

use super::{assert_works, assert_works_without_telemetry};
use crate::agent::support::script::Script;

/// The agent subscribes once. It asks for the first event over a new connection, so that it ignores
/// a late answer.
#[test]
fn a_telemetry_api_that_does_not_answer_does_not_hold_up_the_init() {
    let mut script = Script::start(&[]);
    script.accept_registration();
    script.expect_request("PUT /2022-07-01/telemetry");
    script.wait_for_next();
    // Lambda has the subscription, so telemetry comes.
    assert_works(script).assert_warnings(1).assert_once("did not answer in time");
}

#[test]
fn a_telemetry_api_whose_answer_never_ends_does_not_hold_up_the_init() {
    for begin in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "HTTP/1.1 500 X\r\nX: "]
    {
        let mut script = Script::start(&[]);
        script.accept_registration();
        script.expect_request("PUT /2022-07-01/telemetry");
        script.write(begin);
        script.trickle(b'\n');
        script.wait_for_next();
        assert_works_without_telemetry(script)
            .assert_warnings(1)
            .assert_once("did not answer in time");
    }
}

#[test]
fn a_subscription_that_fails_is_sent_three_times() {
    for status in [500, 503] {
        let mut script = Script::start(&[]);
        script.accept_registration();
        for _ in 0..3 {
            script.expect_request("PUT /2022-07-01/telemetry");
            script.answer(status, "");
        }
        script.wait_for_next();
        assert_works_without_telemetry(script).assert_warnings(1).assert_once(&status.to_string());
    }
}

#[test]
fn a_subscription_that_succeeds_late_counts() {
    let mut script = Script::start(&[]);
    script.accept_registration();
    script.expect_request("PUT /2022-07-01/telemetry");
    script.answer(500, "");
    script.expect_request("PUT /2022-07-01/telemetry");
    script.close();
    script.accept_subscription();
    script.wait_for_next();
    assert_works(script).assert_warnings(0);
}

#[test]
fn a_subscription_whose_connections_all_break_is_one_warning() {
    let mut script = Script::start(&[]);
    script.accept_registration();
    for _ in 0..3 {
        script.expect_request("PUT /2022-07-01/telemetry");
        script.close();
    }
    script.wait_for_next();
    assert_works_without_telemetry(script)
        .assert_warnings(1)
        .assert_once("nothing will be detected");
}
