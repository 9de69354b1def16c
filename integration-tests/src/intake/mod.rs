//! The fake intake: an HTTP and an HTTPS server on loopback that keep what network sinks send.
//!
//! In: requests. Out: a record of each, and the answer that the test has set. It knows the body of
//! one vendor, to count its points. It only keeps everything else.

mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use hyper::Request;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::count::METRIC;
use crate::http_server;
use crate::receiver::{self, Point, items};
use crate::sync::lock;

/// What the intake answers.
#[derive(Clone, Debug)]
pub struct IntakeAnswer {
    /// The status.
    pub status: u16,
    /// Headers beside `content-type`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long it waits first.
    pub delay: Duration,
    /// Closes the connection instead, once it has read the request.
    pub reset: bool,
}

impl Default for IntakeAnswer {
    /// What the distribution-points endpoint answers.
    fn default() -> Self {
        let body = br#"{"status":"ok"}"#.to_vec();
        Self { status: 202, headers: Vec::new(), body, delay: Duration::ZERO, reset: false }
    }
}

impl IntakeAnswer {
    /// This status and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, body: b"{}".to_vec(), ..Self::default() }
    }

    /// No answer: the connection closes.
    pub fn reset() -> Self {
        Self { reset: true, ..Self::default() }
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct IntakeRequest {
    /// Whether it came over TLS.
    pub tls: bool,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The status of its answer. 0: the connection was closed.
    pub status: u16,
}

/// A running intake. It ends when it is dropped.
#[derive(Debug)]
pub struct Intake {
    shared: Arc<IntakeState>,
    http: SocketAddr,
    https: SocketAddr,
    folder: tempfile::TempDir,
    /// Without and with TLS, until they listen.
    sockets: Option<(TcpSocket, TcpSocket, Arc<ServerConfig>)>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct IntakeState {
    requests: Mutex<Vec<IntakeRequest>>,
    /// Answers for the next requests. When none is left, they get the default.
    answers: Mutex<VecDeque<IntakeAnswer>>,
    default: Mutex<IntakeAnswer>,
}

impl Intake {
    /// Starts both servers, with a new authority and a new certificate.
    ///
    /// # Errors
    /// When there is no port or no certificate.
    pub fn start() -> io::Result<Self> {
        let mut intake = Self::bind()?;
        intake.listen()?;
        Ok(intake)
    }

    /// The same, but the ports refuse connections until [`Intake::listen`].
    pub(crate) fn bind() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("oom-witness-intake-").tempdir()?;
        let config = tls::config(&folder.path().join(CA_FILE))?;
        let socket = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            Ok::<_, io::Error>((socket.local_addr()?, socket))
        };
        let ((http, plain), (https, secure)) = (socket()?, socket()?);
        let sockets = Some((plain, secure, config));
        Ok(Self { shared: Arc::default(), http, https, folder, sockets, tasks: Vec::new() })
    }

    pub(crate) fn listen(&mut self) -> io::Result<()> {
        let Some((plain, secure, config)) = self.sockets.take() else { return Ok(()) };
        crate::env::runtime()?.block_on(async {
            let acceptor = TlsAcceptor::from(config);
            let (plain, secure) = (plain.listen(BACKLOG)?, secure.listen(BACKLOG)?);
            let answer = |tls| {
                let shared = Arc::clone(&self.shared);
                move |request| answer(request, tls, Arc::clone(&shared))
            };
            self.tasks = vec![
                tokio::spawn(http_server::serve(plain, None, answer(false))),
                tokio::spawn(http_server::serve(secure, Some(acceptor), answer(true))),
            ];
            Ok(())
        })
    }

    /// `http://127.0.0.1:PORT`
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// `https://localhost:PORT`; the certificate names `localhost` and `127.0.0.1`.
    pub fn https_url(&self) -> String {
        format!("https://localhost:{}", self.https.port())
    }

    /// The authority's certificate, for `SSL_CERT_FILE`.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join(CA_FILE)
    }

    /// Answers the next request in this way. Several calls answer several requests.
    pub fn answer_next(&self, answer: IntakeAnswer) {
        lock(&self.shared.answers).push_back(answer);
    }

    /// Answers every request in this way that has no answer of its own.
    pub fn answer_all(&self, answer: IntakeAnswer) {
        *lock(&self.shared.default) = answer;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<IntakeRequest> {
        lock(&self.shared.requests).clone()
    }

    /// The sum of the metric's points in the requests that were taken (2xx).
    pub fn points(&self) -> f64 {
        receiver::sum(&self.received(|_| true))
    }

    /// Those points of the requests with this API key, with their tags.
    pub(crate) fn received_with(&self, key: &str) -> Vec<Point> {
        self.received(|request| {
            request.headers.iter().any(|(name, value)| name == "dd-api-key" && value == key)
        })
    }

    fn received(&self, is_wanted: impl Fn(&IntakeRequest) -> bool) -> Vec<Point> {
        let requests = lock(&self.shared.requests);
        let taken = requests.iter().filter(|request| (200..300).contains(&request.status));
        taken
            .filter(|request| is_wanted(request))
            .flat_map(|request| points(&request.body))
            .collect()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An error here closes the connection without an answer.
async fn answer(
    request: Request<Body>,
    tls: bool,
    shared: Arc<IntakeState>,
) -> io::Result<Response> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?.to_vec();
    let answer = lock(&shared.answers).pop_front();
    let answer = answer.unwrap_or_else(|| lock(&shared.default).clone());
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    lock(&shared.requests).push(IntakeRequest {
        tls,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers.iter().map(header).collect(),
        body,
        status: if answer.reset { 0 } else { answer.status },
    });
    tokio::time::sleep(answer.delay).await;
    if answer.reset {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let mut response =
        Response::builder().status(answer.status).header("content-type", "application/json");
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).map_err(io::Error::other)
}

/// `{"series":[{"metric":"...","points":[[time,[value]]],"tags":["confidence:confirmed"]}]}`
fn points(body: &[u8]) -> Vec<Point> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut all = Vec::new();
    for series in items(&body["series"]).filter(|series| series["metric"] == METRIC) {
        let tags = items(&series["tags"]).filter_map(Value::as_str).map(str::to_string);
        let labels: Vec<String> = tags.collect();
        let values = items(&series["points"]).flat_map(|point| items(&point[1]));
        let point = |value| Point { value, labels: labels.clone() };
        all.extend(values.filter_map(Value::as_f64).map(point));
    }
    all
}

/// More connections than a test opens at once.
const BACKLOG: u32 = 1024;

const CA_FILE: &str = "ca.pem";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_of_the_metric_are_taken_with_their_tags() {
        let body = br#"{"series":[
            {"metric":"aws.lambda.enhanced.out_of_memory","points":[[1,[1.0]],[2,[2.0]]],
             "tags":["confidence:confirmed"]},
            {"metric":"another","points":[[1,[5.0]]]}]}"#;
        let point = |value| Point { value, labels: vec!["confidence:confirmed".into()] };
        assert_eq!(points(body), [point(1.0), point(2.0)]);
        assert_eq!(points(b"not JSON"), []);
    }
}
