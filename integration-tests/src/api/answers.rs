//! Answers of all three APIs.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The error body of all three APIs.
pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    json(status, serde_json::json!({"errorMessage": message, "errorType": kind}).to_string())
}

pub(super) fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn accepted() -> Response {
    json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_string())
}
