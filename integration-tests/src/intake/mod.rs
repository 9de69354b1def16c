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
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::count::METRIC;
use crate::http_server;
use crate::sync::lock;

/// What the intake answers.
#[derive(Clone, Debug)]
pub struct IntakeAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// How long it waits first.
    pub delay: Duration,
    /// Closes the connection instead, once it has read the request.
    pub reset: bool,
}

impl Default for IntakeAnswer {
    /// What the distribution-points endpoint answers.
    fn default() -> Self {
        let body = r#"{"status":"ok"}"#.to_string();
        Self { status: 202, body, delay: Duration::ZERO, reset: false }
    }
}

impl IntakeAnswer {
    /// This status and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, body: "{}".into(), ..Self::default() }
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
        let folder = tempfile::Builder::new().prefix("oom-witness-intake-").tempdir()?;
        let acceptor = tls::acceptor(&folder.path().join(CA_FILE))?;
        let shared = Arc::new(IntakeState::default());
        crate::env::runtime()?.block_on(async {
            let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let secure = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let (http, https) = (plain.local_addr()?, secure.local_addr()?);
            let answer = |tls| {
                let shared = Arc::clone(&shared);
                move |request| answer(request, tls, Arc::clone(&shared))
            };
            let tasks = vec![
                tokio::spawn(http_server::serve(plain, None, answer(false))),
                tokio::spawn(http_server::serve(secure, Some(acceptor), answer(true))),
            ];
            Ok(Self { shared, http, https, folder, tasks })
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
        let requests = lock(&self.shared.requests);
        let taken = requests.iter().filter(|request| (200..300).contains(&request.status));
        taken.fold(0.0, |sum, request| sum + points(&request.body))
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
    Response::builder()
        .status(answer.status)
        .header("content-type", "application/json")
        .body(Body::from(answer.body))
        .map_err(io::Error::other)
}

/// `{"series":[{"metric":"...","points":[[time,[value]]]}]}`
fn points(body: &[u8]) -> f64 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let series = body["series"].as_array().into_iter().flatten();
    let ours = series.filter(|series| series["metric"] == METRIC);
    let points = ours.flat_map(|series| series["points"].as_array().into_iter().flatten());
    let values = points.flat_map(|point| point[1].as_array().into_iter().flatten());
    values.filter_map(Value::as_f64).sum()
}

const CA_FILE: &str = "ca.pem";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_of_the_metric_are_summed() {
        let body = br#"{"series":[
            {"metric":"aws.lambda.enhanced.out_of_memory","points":[[1,[1.0]],[2,[1.0,1.0]]]},
            {"metric":"another","points":[[1,[5.0]]]}]}"#;
        assert!((points(body) - 3.0).abs() < f64::EPSILON);
        assert!(points(b"not JSON").abs() < f64::EPSILON);
    }
}
