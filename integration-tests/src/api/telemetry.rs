//! `/2022-07-01/telemetry`: subscribe. The older Logs API is not served, as in RIE.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::answers::error;
use super::extensions;
use crate::state::Platform;
use crate::telemetry::{Schema, Subscription};

pub(super) async fn subscribe(
    State(lambda): State<Arc<Platform>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let id = match extensions::identify(&lambda, &headers) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let name = {
        let state = lambda.state.borrow();
        if !state.registration_open {
            let message = "Telemetry API subscription is closed";
            return error(StatusCode::FORBIDDEN, "Telemetry.SubscriptionClosed", message);
        }
        state.extensions.iter().find(|known| known.id == id).map(|known| known.name.clone())
    };
    let managed = lambda.identity.is_managed();
    match Subscription::parse(&body) {
        Ok(subscription) if managed && subscription.schema != Schema::V2025_01_29 => {
            let message = "schemaVersion: Managed Instances need 2025-01-29";
            error(StatusCode::BAD_REQUEST, "ValidationError", message)
        }
        Ok(subscription) => {
            lambda.hub.subscribe(&name.unwrap_or_default(), subscription);
            (StatusCode::OK, "\"OK\"").into_response()
        }
        Err(message) => error(StatusCode::BAD_REQUEST, "ValidationError", &message),
    }
}

pub(super) async fn logs() -> Response {
    error(StatusCode::ACCEPTED, "Logs.NotSupported", "Logs API is not supported")
}
