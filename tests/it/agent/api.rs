//! Answers of Lambda's local APIs: a refusal (4xx, 5xx), a broken connection, an odd body.
//!
//! | File | What it tests |
//! |---|---|
//! | `refusals` | a status of 400 to 500 from any of the APIs |
//! | `registration` | other answers to `POST /2020-01-01/extension/register` |
//! | `subscription` | other answers to `PUT /2022-07-01/telemetry` |
//! | `next_event` | other answers to `GET /2020-01-01/extension/event/next` |
//!
//! Telemetry requests, which Lambda makes to the agent, are in `telemetry_http`.

mod next_event;
mod refusals;
mod registration;
mod subscription;

use super::support::agent_process::AgentOutput;
use super::support::bodies::oom_body;
use super::support::script::Script;

/// Checks that an agent that waits for an event works: it counts, takes an INVOKE and ends by
/// SHUTDOWN.
fn assert_works(mut script: Script) -> AgentOutput {
    script.post(oom_body());
    script.invoke();
    script.end(1)
}

/// The same without telemetry.
fn assert_works_without_telemetry(mut script: Script) -> AgentOutput {
    script.invoke();
    script.end(0)
}

#[test]
fn with_the_usual_answers_the_agent_works_without_a_warning() {
    let mut script = Script::start(&[]);
    let configured_port = script.port;
    let registration = script.accept_registration();
    assert_eq!(registration.body, r#"{"events":["INVOKE","SHUTDOWN"]}"#);
    let subscription = script.accept_subscription();
    assert!(subscription.body.contains(r#""schemaVersion":"2025-01-29""#), "{}", subscription.body);
    assert_eq!(script.port, configured_port, "{}", subscription.body);
    script.wait_for_next();
    for _ in 0..3 {
        script.invoke();
    }
    assert_works(script).assert_warnings(0);
}
