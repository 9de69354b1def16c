//! The subscription: one request, with the oldest schema that is needed and the smallest buffers.
//!
//! Goes in: our port and path. Comes out: whether telemetry will come. No answer stops the agent, and none holds
//! it: Lambda allows 10 s for the whole init.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::lambda::http_client::Client;
use crate::sys;

/// Newest first. All that matters is the same in each; Managed Instances know only the first.
const SCHEMAS: [&str; 3] = ["2025-01-29", "2022-12-13", "2022-07-01"];

/// All schemas and tries together.
const TIME_MAX: Duration = Duration::from_secs(2);

const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// How a subscription ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subscription {
    /// Telemetry will come.
    Made,
    /// This Lambda has no telemetry (202: the local emulators).
    NotSupported,
    /// It was refused with this status.
    Refused(u16),
    /// There was no answer. Lambda may have taken it all the same.
    Unanswered,
}

/// Subscribes to the platform's events and, with `logs`, to the function's lines.
///
/// The buffers are the smallest that Lambda takes, since it holds them inside of the environment's
/// memory limit.
pub(crate) fn subscribe(
    client: &mut Client,
    host: &str,
    identifier: &str,
    port: u16,
    path: &str,
    logs: bool,
) -> Subscription {
    let types = if logs { r#""platform","function""# } else { r#""platform""# };
    let until = Instant::now() + TIME_MAX;
    let mut answered = None;
    for schema in SCHEMAS {
        let mut body = heapless::String::<320>::new();
        // Fits: nothing in it is longer than shown here.
        let _ = write!(
            body,
            r#"{{"schemaVersion":"{schema}","types":[{types}],"buffering":{{"maxItems":1000,"maxBytes":262144,"timeoutMs":25}},"destination":{{"protocol":"HTTP","URI":"http://sandbox.localdomain:{port}/{path}"}}}}"#
        );
        let mut request = heapless::String::<768>::new();
        let _ = write!(
            request,
            "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: {host}\r\n\
             Lambda-Extension-Identifier: {identifier}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        answered = put(client, request.as_bytes(), until);
        match answered {
            Some(202) => return Subscription::NotSupported,
            Some(200..300) => return Subscription::Made,
            Some(400) => {}
            _ => break,
        }
    }
    answered.map_or(Subscription::Unanswered, Subscription::Refused)
}

/// The answer's status, if there was one.
fn put(client: &mut Client, request: &[u8], until: Instant) -> Option<u16> {
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
