//! `/2018-06-01/runtime`: next, response, error, init/error, restore/next, restore/error.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::answers::{accepted, error};
use crate::identity;
use crate::outcome::RuntimeAnswer;
use crate::state::{FOREVER, Invocation, Platform, PlatformState};

pub(super) async fn next(State(lambda): State<Arc<Platform>>) -> Response {
    let Some(invocation) = fetch(&lambda).await else {
        return error(StatusCode::FORBIDDEN, "InvalidStateTransition", "environment was reset");
    };
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", identity::ARN.to_string()),
        ("Lambda-Runtime-Trace-Id", invocation.trace),
        ("Content-Type", "application/json".to_string()),
    ];
    (StatusCode::OK, headers, invocation.payload).into_response()
}

/// The next invocation of this generation. `None`: the generation is over.
async fn fetch(lambda: &Arc<Platform>) -> Option<Invocation> {
    let generation = lambda.change(|state| {
        state.runtime.waiting += 1;
        state.runtime.asked = true;
        state.generation
    });
    let _waiting = WaitingRequest { lambda, generation };
    loop {
        let present = |state: &PlatformState| {
            state.generation != generation || !state.runtime.inbox.is_empty()
        };
        lambda.wait(Instant::now() + FOREVER, present).await;
        // Another request may have taken it.
        let (over, invocation) = lambda.change(|state| {
            let over = state.generation != generation;
            let invocation = if over { None } else { state.runtime.inbox.pop_front() };
            if let Some(invocation) = &invocation {
                state.runtime.open.push(invocation.request_id.clone());
            }
            (over, invocation)
        });
        if over || invocation.is_some() {
            return invocation;
        }
    }
}

/// One waiting request. It does not count any more when its process is killed.
struct WaitingRequest<'a> {
    lambda: &'a Platform,
    generation: u64,
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.lambda.change(|state| {
            if state.generation == self.generation {
                state.runtime.waiting -= 1;
            }
        });
    }
}

/// `response` or `error`.
pub(super) async fn answer(
    State(lambda): State<Arc<Platform>>,
    Path((id, kind)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let answer = match kind.as_str() {
        "response" => RuntimeAnswer::Response(body),
        "error" => RuntimeAnswer::Error(body),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let taken = lambda.change(|state| {
        let runtime = &mut state.runtime;
        let Some(at) = runtime.open.iter().position(|open| *open == id) else { return false };
        runtime.open.remove(at);
        runtime.answers.insert(id, (answer, Instant::now()));
        true
    });
    if taken {
        accepted()
    } else {
        error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
    }
}

/// `init/error`, or `restore/error` with SnapStart.
pub(super) async fn failed(State(lambda): State<Arc<Platform>>) -> Response {
    lambda.change(|state| state.runtime.failed = true);
    accepted()
}

/// SnapStart: the runtime is ready for the snapshot. The answer comes after the restore.
pub(super) async fn restore_next(State(lambda): State<Arc<Platform>>) -> Response {
    let generation = lambda.change(|state| {
        state.runtime.at_snapshot = true;
        state.generation
    });
    let restored = |state: &PlatformState| state.generation != generation || state.runtime.restored;
    lambda.wait(Instant::now() + FOREVER, restored).await;
    StatusCode::OK.into_response()
}
