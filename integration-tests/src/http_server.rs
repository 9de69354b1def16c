//! An HTTP server on loopback whose answers come from one function, with or without TLS.
//!
//! In: a listener. Out: requests for the function, its answers for the clients, and both in the log
//! at the level debug. An error of the function closes the connection without an answer.

use std::io;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves every connection until the task is aborted.
pub(crate) async fn serve<A, F>(listener: TcpListener, tls: Option<TlsAcceptor>, answer: A)
where
    A: Fn(Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<Response>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        // Otherwise an answer waits until the client acknowledges the TLS session tickets.
        let _ = stream.set_nodelay(true);
        let (tls, answer) = (tls.clone(), answer.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn connection<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: impl Fn(Request<Body>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = io::Result<Response>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        logged(request.map(Body::new), answer.clone())
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The answer. If debug messages are logged, it logs one with both bodies.
async fn logged<F: Future<Output = io::Result<Response>>>(
    request: Request<Body>,
    answer: impl Fn(Request<Body>) -> F,
) -> io::Result<Response> {
    if !log::log_enabled!(log::Level::Debug) {
        return answer(request).await;
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let asked = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
    let request = Request::from_parts(head, Body::from(body));
    let response = answer(request).await.inspect_err(|error| log::debug!("{asked} -> {error}"))?;
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    log::debug!("{asked} -> {} {}", head.status, String::from_utf8_lossy(&body));
    Ok(Response::from_parts(head, Body::from(body)))
}
