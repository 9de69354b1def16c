//! `/2020-01-01/extension`: register, next, init/error, exit/error.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::answers::{accepted, error};
use crate::identity;
use crate::recording::RecordingLine;
use crate::state::{FOREVER, Platform, PlatformState, RegisteredExtension};

pub(super) async fn register(
    State(lambda): State<Arc<Platform>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let name = text(&headers, "lambda-extension-name").unwrap_or_default().to_string();
    let body: Value = match serde_json::from_slice(&body) {
        Ok(body @ Value::Object(_)) => body,
        _ => return refuse("InvalidRequestFormat", "Invalid request format"),
    };
    if body["configurationKeys"].as_array().is_some_and(|keys| !keys.is_empty()) {
        return refuse("InvalidRequestFormat", "configurationKeys are not supported");
    }
    let id = Uuid::new_v4().to_string();
    if let Err((kind, message)) = admit(&lambda, &name, &body, &id) {
        return refuse(kind, &message);
    }
    let mut answer = json!({
        "functionName": identity::NAME,
        "functionVersion": identity::VERSION,
        "handler": lambda.identity.handler,
    });
    let features = text(&headers, "lambda-extension-accept-feature").unwrap_or_default();
    if features.split(',').any(|feature| feature.trim() == "accountId") {
        answer["accountId"] = Value::from(identity::ACCOUNT_ID);
    }
    let headers =
        [("Lambda-Extension-Identifier", id), ("Content-Type", "application/json".into())];
    (StatusCode::OK, headers, answer.to_string()).into_response()
}

/// Adds the extension. The error is the type and the message of a refusal.
fn admit(
    lambda: &Platform,
    name: &str,
    body: &Value,
    id: &str,
) -> Result<(), (&'static str, String)> {
    if name.is_empty() {
        return Err(("Extension.InvalidExtensionName", "Invalid extension name".into()));
    }
    let managed = lambda.identity.is_managed();
    lambda.change(|state| {
        if !state.registration_open {
            let message = "Extension registration closed already".to_string();
            return Err(("Extension.RegistrationClosed", message));
        }
        let external = state.processes.iter().any(|process| process.name == name);
        let mut events = Vec::new();
        for event in body["events"].as_array().into_iter().flatten() {
            events.push(match event.as_str() {
                Some("INVOKE") if !managed => "INVOKE",
                Some("SHUTDOWN") if external => "SHUTDOWN",
                _ => {
                    let message =
                        format!("{}: ErrorInvalidEventType", event.as_str().unwrap_or_default());
                    return Err(("Extension.InvalidEventType", message));
                }
            });
        }
        if state.extensions.iter().any(|known| known.name == name) {
            let message = format!(
                "State transition from Registered to Registered failed for extension {name}. \
                 Error: State transition is not allowed"
            );
            return Err(("Extension.InvalidExtensionState", message));
        }
        if state.extensions.len() >= EXTENSIONS_MAX {
            return Err(("Extension.TooManyExtensions", "Extension limit (10) reached".into()));
        }
        let (name, id, registered) = (name.to_string(), id.to_string(), Some(Instant::now()));
        let rest = RegisteredExtension::default();
        state.extensions.push(RegisteredExtension { name, id, events, registered, ..rest });
        Ok(())
    })
}

pub(super) async fn next(State(lambda): State<Arc<Platform>>, headers: HeaderMap) -> Response {
    let id = match identify(&lambda, &headers) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    lambda.change(|state| {
        if let Some(extension) = state.registered(&id) {
            (extension.waiting, extension.asked) = (true, true);
            extension.first_asked.get_or_insert_with(Instant::now);
        }
    });
    let present = |state: &PlatformState| {
        let extension = state.extensions.iter().find(|extension| extension.id == id);
        extension.is_none_or(|extension| extension.inbox.is_some())
    };
    lambda.wait(Instant::now() + FOREVER, present).await;
    let taken = lambda.change(|state| {
        let extension = state.registered(&id)?;
        extension.waiting = false;
        Some((extension.name.clone(), extension.inbox.take()?))
    });
    let Some((name, (event, body))) = taken else {
        return refuse("Extension.UnknownExtensionIdentifier", &format!("Unknown extension {id}"));
    };
    lambda.hub.record_for(&name, event.clone());
    match event {
        RecordingLine::Invoke(_) => {
            let headers = [
                ("Lambda-Extension-Event-Identifier", Uuid::new_v4().to_string()),
                ("Content-Type", "application/json".into()),
            ];
            (StatusCode::OK, headers, body).into_response()
        }
        // RIE sends SHUTDOWN as text/plain and without an event identifier.
        _ => (StatusCode::OK, body).into_response(),
    }
}

pub(super) async fn init_error(
    State(lambda): State<Arc<Platform>>,
    headers: HeaderMap,
) -> Response {
    report_error(&lambda, &headers, "Extension.InitError")
}

pub(super) async fn exit_error(
    State(lambda): State<Arc<Platform>>,
    headers: HeaderMap,
) -> Response {
    report_error(&lambda, &headers, "Extension.ExitError")
}

fn report_error(lambda: &Platform, headers: &HeaderMap, default: &str) -> Response {
    let id = match identify(lambda, headers) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let Some(kind) = text(headers, "lambda-extension-function-error-type") else {
        let message = "Lambda-Extension-Function-Error-Type not found";
        return refuse("Extension.MissingHeader", message);
    };
    let kind = if kind.starts_with("Extension.") { kind } else { default };
    lambda.change(|state| {
        if let Some(extension) = state.registered(&id) {
            extension.error = Some(kind.to_string());
        }
    });
    accepted()
}

/// The identifier of a registered extension, or the refusal.
pub(super) fn identify(lambda: &Platform, headers: &HeaderMap) -> Result<String, Box<Response>> {
    let refuse = |kind, message: &str| Err(Box::new(refuse(kind, message)));
    let Some(id) = text(headers, "lambda-extension-identifier") else {
        let message = "Missing Lambda-Extension-Identifier header";
        return refuse("Extension.MissingExtensionIdentifier", message);
    };
    if Uuid::parse_str(id).is_err() {
        let message = "Invalid Lambda-Extension-Identifier";
        return refuse("Extension.InvalidExtensionIdentifier", message);
    }
    if !lambda.state.borrow().extensions.iter().any(|extension| extension.id == id) {
        let message = format!("Unknown extension {id}");
        return refuse("Extension.UnknownExtensionIdentifier", &message);
    }
    Ok(id.to_string())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refuse(kind: &str, message: &str) -> Response {
    error(StatusCode::FORBIDDEN, kind, message)
}

const EXTENSIONS_MAX: usize = 10;
