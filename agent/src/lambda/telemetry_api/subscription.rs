//! The subscription: one request, with the oldest schema that is needed and the smallest buffers.
//!
//! In: our port and path. Out: whether telemetry will arrive. No answer ends the agent, and none
//! holds it up for long: Lambda allows 10 s for the whole init.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::lambda::http_client::ApiClient;
use crate::sys;

/// Newest first. They do not differ in what the agent reads. Managed Instances know only the first.
const SCHEMAS: [&str; 3] = ["2025-01-29", "2022-12-13", "2022-07-01"];

/// The smallest buffers that Lambda accepts, since they count towards the environment's memory
/// limit.
const BUFFERING: &str = r#"{"maxItems":1000,"maxBytes":262144,"timeoutMs":25}"#;

/// The name by which Lambda reaches this environment.
const OWN_HOST: &str = "sandbox.localdomain";

/// The longest body: 218 bytes of text, a path of 32, a port, a schema and the types.
const BODY_SIZE: usize = 320;

/// The longest request: a body, an address of 100 bytes, an identifier of 64, and 141 of text.
const REQUEST_SIZE: usize = 768;

/// The time for all schemas and tries together.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Requests with one schema, when Lambda answers 5xx or not at all.
const TRIES_MAX: u32 = 3;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Lambda's answer to the subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SubscribeResult {
    /// Telemetry will arrive.
    Made,
    /// This Lambda has no telemetry (202: the local emulators).
    NotSupported,
    /// Lambda refused it with this status.
    Refused(u16),
    /// Lambda did not answer. It may have taken the subscription all the same.
    Unanswered,
}

/// Subscribes to the platform's events and, with `logs`, to the function's lines.
pub(crate) fn subscribe(
    client: &mut ApiClient,
    host: &str,
    identifier: &str,
    port: u16,
    path: &str,
    logs: bool,
) -> SubscribeResult {
    let types = if logs { r#""platform","function""# } else { r#""platform""# };
    let until = Instant::now() + TIME_MAX;
    let mut status = None;
    for schema in SCHEMAS {
        let mut body = heapless::String::<BODY_SIZE>::new();
        // It fits: each part has its longest form in the size.
        let _ = write!(
            body,
            r#"{{"schemaVersion":"{schema}","types":[{types}],"buffering":{BUFFERING},"#
        );
        let _ = write!(
            body,
            r#""destination":{{"protocol":"HTTP","URI":"http://{OWN_HOST}:{port}/{path}"}}}}"#
        );
        let mut request = heapless::String::<REQUEST_SIZE>::new();
        let _ = write!(
            request,
            "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: {host}\r\n\
             Lambda-Extension-Identifier: {identifier}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        status = put(client, request.as_bytes(), until);
        match status {
            Some(202) => return SubscribeResult::NotSupported,
            Some(200..300) => return SubscribeResult::Made,
            Some(400) => {}
            _ => break,
        }
    }
    status.map_or(SubscribeResult::Unanswered, SubscribeResult::Refused)
}

/// The status of the last answer, if there was one.
fn put(client: &mut ApiClient, request: &[u8], until: Instant) -> Option<u16> {
    let mut status = None;
    for attempt in 0..TRIES_MAX {
        if attempt > 0 {
            sys::pause(PAUSE);
        }
        status = client.exchange(request, until).ok().map(|answer| answer.status);
        if status.is_some_and(|status| status < 500) || Instant::now() >= until {
            break;
        }
    }
    status
}
