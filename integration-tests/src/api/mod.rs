//! The Runtime, Extensions and Telemetry APIs on one loopback address.
//!
//! In: requests of the processes of one environment. Out: answers, and facts in the shared state.
//! It starts, stops and judges nothing. Any answer can be replaced by a [`Fault`], or by a broken
//! connection.

mod answers;
mod extensions;
mod runtime;
mod telemetry;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fault::{Call, Fault};
use crate::state::Lambda;
use answers::json;

/// Starts the server. It ends with its task.
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
            let answer = service_fn(move |request: Request<Incoming>| {
                logged_answer(request.map(Body::new), service.clone(), Arc::clone(&lambda))
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// The answer. If debug messages are logged, it logs one with both bodies.
async fn logged_answer(
    request: Request<Body>,
    service: TowerToHyperService<Router>,
    lambda: Arc<Lambda>,
) -> Result<Response, io::Error> {
    if !log::log_enabled!(log::Level::Debug) {
        return answer(request, service, lambda).await;
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let asked = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
    let request = Request::from_parts(head, Body::from(body));
    let response = answer(request, service, lambda).await.inspect_err(|error| {
        log::debug!("{asked} -> {error}");
    })?;
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    log::debug!("{asked} -> {} {}", head.status, String::from_utf8_lossy(&body));
    Ok(Response::from_parts(head, Body::from(body)))
}

/// The usual answer, or the next fault for this call. An error makes hyper close the connection
/// without an answer.
async fn answer(
    request: Request<Body>,
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
