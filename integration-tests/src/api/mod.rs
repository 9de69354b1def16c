//! The Runtime, Extensions and Telemetry APIs on one loopback address.
//!
//! In: requests of the processes of one environment. Out: answers, and facts in the shared state.
//! It starts, stops and judges nothing. An [`ApiFault`] can replace any answer.

mod answers;
mod extensions;
mod runtime;
mod telemetry;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use hyper::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fault::{ApiCall, ApiFault};
use crate::http_server;
use crate::state::Platform;
use crate::sync::lock;
use answers::json;

/// Starts the server. It ends with its task.
pub(crate) async fn serve(lambda: Arc<Platform>) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let faults = Arc::clone(&lambda);
    let router = Router::new()
        .route(ApiCall::Register.path(), post(extensions::register))
        .route(ApiCall::Next.path(), get(extensions::next))
        .route(ApiCall::InitError.path(), post(extensions::init_error))
        .route(ApiCall::ExitError.path(), post(extensions::exit_error))
        .route(ApiCall::Subscribe.path(), put(telemetry::subscribe))
        .route("/2022-07-01/telemetry/", put(telemetry::subscribe))
        .route("/2020-08-15/logs", put(telemetry::logs))
        .route("/2018-06-01/runtime/invocation/next", get(runtime::next))
        .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(runtime::answer))
        .route("/2018-06-01/runtime/init/error", post(runtime::failed))
        .route("/2018-06-01/runtime/restore/next", get(runtime::restore_next))
        .route("/2018-06-01/runtime/restore/error", post(runtime::failed))
        .layer(DefaultBodyLimit::disable())
        .with_state(lambda);
    let service = TowerToHyperService::new(router);
    let answer = move |request| answer(request, service.clone(), Arc::clone(&faults));
    Ok((address, tokio::spawn(http_server::serve(listener, None, answer))))
}

/// The usual answer, or the next fault for this call. An error makes hyper close the connection
/// without an answer.
async fn answer(
    request: Request<Body>,
    service: TowerToHyperService<Router>,
    lambda: Arc<Platform>,
) -> io::Result<Response> {
    let Some(fault) = take_fault(&lambda, request.uri().path().trim_end_matches('/')) else {
        return service.call(request).await.map_err(io::Error::other);
    };
    let (status, body) = fault.answer.ok_or(io::ErrorKind::ConnectionReset)?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(json(status, body.to_string()))
}

fn take_fault(lambda: &Platform, path: &str) -> Option<ApiFault> {
    let mut faults = lock(&lambda.faults);
    let is_due = |fault: &&mut ApiFault| fault.call.path() == path && fault.times != Some(0);
    let fault = faults.iter_mut().find(is_due)?;
    fault.times = fault.times.map(|times| times - 1);
    Some(fault.clone())
}
