//! The Runtime, Extensions and Telemetry APIs on one loopback address.
//!
//! In: requests of the processes of one environment. Out: answers, and facts in the shared state.
//! It starts, stops and judges nothing. Any answer can be replaced by a [`Fault`], or by a broken
//! connection.

mod extensions;
mod runtime;
mod telemetry;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::env::state::Lambda;

/// One call of the three APIs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// `POST /2020-01-01/extension/register`
    Register,
    /// `GET /2020-01-01/extension/event/next`
    Next,
    /// `POST /2020-01-01/extension/init/error`
    InitError,
    /// `POST /2020-01-01/extension/exit/error`
    ExitError,
    /// `PUT /2022-07-01/telemetry`
    Subscribe,
}

/// An answer in place of the usual one.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The call that gets it.
    pub call: Call,
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// How long it waits before it answers.
    pub delay: Duration,
    /// How many calls get it; `None`: all.
    pub times: Option<u32>,
    /// No answer: the connection breaks.
    pub breaks: bool,
}

/// The faults that are left.
pub(crate) type Faults = Vec<Fault>;

impl Fault {
    /// Answers every such call with this status and an error body of the API's shape.
    #[must_use]
    pub fn new(call: Call, status: u16) -> Self {
        let body = r#"{"errorMessage":"asked for","errorType":"Sandbox.Fault"}"#.to_string();
        Self { call, status, body, delay: Duration::ZERO, times: None, breaks: false }
    }

    /// Breaks the connection of every such call.
    #[must_use]
    pub fn broken(call: Call) -> Self {
        Self { breaks: true, ..Self::new(call, 500) }
    }

    /// What SAM, LocalStack and the classic RIE answer: 202 `Telemetry.NotSupported`.
    #[must_use]
    pub fn telemetry_not_supported() -> Self {
        let body = concat!(
            r#"{"errorMessage":"Telemetry API is not supported","#,
            r#""errorType":"Telemetry.NotSupported"}"#
        );
        Self { body: body.to_string(), ..Self::new(Call::Subscribe, 202) }
    }

    /// Only for the first calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// Starts the server; it ends with its task.
pub(crate) async fn serve(lambda: Arc<Lambda>) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let faults = Arc::clone(&lambda);
    let router = Router::new()
        .route("/2020-01-01/extension/register", post(extensions::register))
        .route("/2020-01-01/extension/event/next", get(extensions::next))
        .route("/2020-01-01/extension/init/error", post(extensions::init_error))
        .route("/2020-01-01/extension/exit/error", post(extensions::exit_error))
        .route("/2022-07-01/telemetry", put(telemetry::subscribe))
        .route("/2022-07-01/telemetry/", put(telemetry::subscribe))
        .route("/2020-08-15/logs", put(telemetry::logs))
        .route("/2018-06-01/runtime/invocation/next", get(runtime::next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(runtime::response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(runtime::error))
        .route("/2018-06-01/runtime/init/error", post(runtime::init_error))
        .route("/2018-06-01/runtime/restore/next", get(runtime::restore_next))
        .route("/2018-06-01/runtime/restore/error", post(runtime::restore_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(lambda);
    let service = TowerToHyperService::new(router);
    Ok((address, tokio::spawn(accept(listener, service, faults))))
}

async fn accept(listener: TcpListener, service: TowerToHyperService<Router>, lambda: Arc<Lambda>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (service, lambda) = (service.clone(), Arc::clone(&lambda));
        tokio::spawn(async move {
            let answer =
                service_fn(move |request| answer(request, service.clone(), Arc::clone(&lambda)));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// The usual answer, or the fault that is left for this call. An error here makes hyper close the
/// connection without an answer.
async fn answer(
    request: Request<Incoming>,
    service: TowerToHyperService<Router>,
    lambda: Arc<Lambda>,
) -> Result<Response, io::Error> {
    let call = match request.uri().path().trim_end_matches('/') {
        "/2020-01-01/extension/register" => Some(Call::Register),
        "/2020-01-01/extension/event/next" => Some(Call::Next),
        "/2020-01-01/extension/init/error" => Some(Call::InitError),
        "/2020-01-01/extension/exit/error" => Some(Call::ExitError),
        "/2022-07-01/telemetry" => Some(Call::Subscribe),
        _ => None,
    };
    let Some(fault) = call.and_then(|call| take_fault(&lambda, call)) else {
        return service.call(request).await.map_err(io::Error::other);
    };
    tokio::time::sleep(fault.delay).await;
    if fault.breaks {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(json(status, fault.body))
}

fn take_fault(lambda: &Lambda, call: Call) -> Option<Fault> {
    let mut faults = lambda.faults.lock().unwrap_or_else(PoisonError::into_inner);
    let fault = faults.iter_mut().find(|fault| fault.call == call && fault.times != Some(0))?;
    fault.times = fault.times.map(|times| times - 1);
    Some(fault.clone())
}

/// The error body of all three APIs.
fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    json(status, serde_json::json!({"errorMessage": message, "errorType": kind}).to_string())
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn accepted() -> Response {
    json(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_string())
}
