//! `/2018-06-01/runtime`: next, response, error, init/error.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::{accepted, error as refuse};
use crate::env::state::{Answer, FOREVER, Lambda};

pub(super) async fn next(State(lambda): State<Arc<Lambda>>) -> Response {
    let generation = lambda.change(|state| {
        (state.runtime.waiting, state.runtime.asked) = (true, true);
        state.generation
    });
    let present = |state: &crate::env::state::State| {
        state.generation != generation || state.runtime.inbox.is_some()
    };
    lambda.wait(Instant::now() + FOREVER, present).await;
    let invocation = lambda.change(|state| {
        if state.generation != generation {
            return None;
        }
        let invocation = state.runtime.inbox.take()?;
        state.runtime.waiting = false;
        state.runtime.current = Some(invocation.request_id.clone());
        Some(invocation)
    });
    let Some(invocation) = invocation else {
        return refuse(StatusCode::FORBIDDEN, "InvalidStateTransition", "environment was reset");
    };
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", lambda.identity.arn()),
        ("Lambda-Runtime-Trace-Id", invocation.trace),
        ("Content-Type", "application/json".to_string()),
    ];
    (StatusCode::OK, headers, invocation.payload).into_response()
}

pub(super) async fn response(
    State(lambda): State<Arc<Lambda>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    answer(&lambda, &id, Answer::Response(String::from_utf8_lossy(&body).into_owned()))
}

pub(super) async fn error(
    State(lambda): State<Arc<Lambda>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    answer(&lambda, &id, Answer::Error(String::from_utf8_lossy(&body).into_owned()))
}

pub(super) async fn init_error(State(lambda): State<Arc<Lambda>>, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    lambda.change(|state| state.runtime.init_error = Some(body));
    accepted()
}

fn answer(lambda: &Lambda, id: &str, answer: Answer) -> Response {
    let taken = lambda.change(|state| {
        let open = state.runtime.current.as_deref() == Some(id);
        if open {
            state.runtime.current = None;
            state.runtime.answer = Some(answer);
        }
        open
    });
    if taken {
        accepted()
    } else {
        refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
    }
}
