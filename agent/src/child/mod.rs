//! The child: `oom-witness send SINK` makes one request and ends.
//!
//! In: the body on stdin, and the sink's variables. Out: the exit code. One line on stderr, if the
//! sink did not take the body and this is the first try. One byte on stdout, just before the body
//! begins to leave: until then the sink surely has nothing. A second byte, if the sink asks to be
//! left alone: for how many seconds.
//!
//! | Exit code | The sink | What the agent does |
//! |---|---|---|
//! | 0 | has it | nothing more |
//! | 1 | surely does not have it | sends it again |
//! | 2 | may have it | never sends it again, and says so |
//! | 3 | does not want it | drops it |
//! | 4: no memory was left | does not have it before that byte, may have it after | as for 1 or 2 |
//! | another, or a signal | as for 4 | as for 4, and says so |
//!
//! The agent kills it after a second, or when less is left. It gives two seconds to a child that
//! first fetches a key from AWS (`key.rs`, `aws/`). Resolver, TLS and whatever a peer sends
//! are here and nowhere else. What differs from sink to sink is in `delivery/sink/`.

use std::env;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::request::Builder;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error, Proxy, SendBody};

use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Answer, Sink, SinkRequest};
use crate::delivery::{certificates, proxy};
use crate::logger;
use crate::sys::{self, Stream, heap};
use crate::variable::Variables;

mod aws;
mod connection;
mod key;
mod tls;

use self::key::SecretHeaders;

/// ureq's own buffers have 128 KiB, and each connection has two.
const HTTP_BUFFER_SIZE: usize = 4096;

/// The longest body that the agent hands over.
const BODY_MAX: usize = 4096;

/// Both times fit into the second that the agent gives a child, which ends a child that is late. A
/// child that fetches a key first gets two seconds (`key.rs`).
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(900);

/// The longest time for the body of a sink's answer, whose status is known by then.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

/// What is read of the body of an answer.
const ANSWER_MAX: usize = 1024;

/// Sends what is on stdin. If it `is_again`, an earlier try was logged, and this one is not.
#[cold]
#[inline(never)]
pub(crate) fn run(sink: &str, is_again: bool) -> u8 {
    heap::leave_to_libc();
    heap::set_silent(is_again);
    let Err(SendError { result, text }) = send(sink) else {
        return SendResult::Taken.exit_code();
    };
    let taken = match result {
        SendResult::NotTaken if is_again => "",
        SendResult::NotTaken => "has not taken a metric yet",
        SendResult::Unknown => "may not have taken a metric",
        SendResult::Refused => "has refused a metric",
        SendResult::Taken => "has taken a metric, and says",
    };
    if !taken.is_empty() {
        sys::wait_for_room(Stream::Stderr);
        logger::say(format_args!("oom-witness: {sink} {taken}: {text}"));
    }
    result.exit_code()
}

/// What there is to say of a request, which has failed in most cases.
struct SendError {
    result: SendResult,
    text: String,
}

impl SendError {
    fn new(result: SendResult, text: impl Into<String>) -> Self {
        Self { result, text: text.into() }
    }
}

fn send(name: &str) -> Result<(), SendError> {
    let get = |name: &str| env::var_os(name);
    let (sink, request) = request(name, &get)?;
    let mut buffer = [0; BODY_MAX];
    let body = read_body(&mut buffer)?;
    let roots = roots(&get, request.certificates)?;
    let proxy = proxy(&get, &request.url)?;
    let key = match &request.key {
        Some(source) => key::fetch(source, &get, roots.clone())
            .map_err(|text| SendError::new(SendResult::NotTaken, text))?,
        None => SecretHeaders(Vec::new()),
    };
    let mut post = Request::post(&request.url).header("Content-Length", body.len().to_string());
    let is_replaced = |name: &str| key.0.iter().any(|(new, _)| new.eq_ignore_ascii_case(name));
    let kept = request.headers.iter().filter(|(name, _)| !is_replaced(name));
    for (name, value) in kept.chain(&key.0) {
        post = post.header(name.as_ref(), value);
    }
    let mut body = BodyReader { rest: body, has_begun: false };
    let config = config(roots, proxy, request.timeout, None);
    let response = exchange(config, post, SendBody::from_reader(&mut body));
    match response {
        Ok(response) => {
            let status = response.status().as_u16();
            if !response.status().is_success() {
                pass_on_pause(&response);
            }
            let mut buffer = [0; ANSWER_MAX];
            let body = read_answer(response.into_body(), &mut buffer);
            match sink.result_of(&Answer { status, body }) {
                (SendResult::Taken, text) if text.is_empty() => Ok(()),
                (result, text) => Err(SendError::new(result, text)),
            }
        }
        Err(error) => {
            let result = if body.has_begun { SendResult::Unknown } else { SendResult::NotTaken };
            Err(SendError::new(result, error.to_string()))
        }
    }
}

/// Makes one request. All requests go through this one function, which saves 2 kB of the zip.
#[inline(never)]
fn exchange(config: Config, request: Builder, body: SendBody<'_>) -> Result<Response<Body>, Error> {
    let request = request.body(body)?;
    Agent::with_parts(config, connection::connector(), connection::LibcResolver).run(request)
}

fn request(name: &str, get: Variables<'_>) -> Result<(Sink, SinkRequest), SendError> {
    let refused = |text: &str| SendError::new(SendResult::Refused, text);
    let no_sink = || refused("there is no such sink");
    let sink = Sink::named(name).ok_or_else(no_sink)?;
    match sink.request(get) {
        Ok(Some(request)) => Ok((sink, request)),
        Ok(None) => Err(no_sink()),
        Err(invalid) => Err(refused(&[invalid.name, " has to be ", invalid.takes].concat())),
    }
}

/// Tells the agent how long the sink asks to be left alone, in whole seconds. A date in place of
/// them is not read (<https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>).
fn pass_on_pause<T>(response: &Response<T>) {
    let value = response.headers().get("Retry-After").and_then(|value| value.to_str().ok());
    let seconds = value.and_then(|value| value.trim().parse::<u64>().ok());
    if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
        let byte = u8::try_from(seconds).unwrap_or(u8::MAX);
        // Without it, the agent tries again a little earlier.
        let _ = sys::write_line(Stream::Stdout, &[byte]);
    }
}

/// The beginning of an answer's body. What cannot be read in time is no reason to doubt the status.
fn read_answer(mut body: Body, buffer: &mut [u8]) -> &[u8] {
    let mut reader = body.as_reader();
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(count @ 1..) => length += count,
            Ok(0) | Err(_) => break,
        }
    }
    buffer.get(..length).unwrap_or_default()
}

/// The agent wrote the whole body before this process began, so one read brings all of it.
fn read_body(buffer: &mut [u8]) -> Result<&[u8], SendError> {
    loop {
        match io::stdin().lock().read(buffer) {
            Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SendError::new(SendResult::NotTaken, error.to_string())),
        }
    }
}

/// The user's root certificates, else Mozilla's.
fn roots(get: Variables<'_>, names: &[&'static str]) -> Result<RootCerts, SendError> {
    let pem = certificates::from_vars(get, names);
    let pem = pem.map_err(|text| SendError::new(SendResult::Refused, text))?;
    pem.map_or(Ok(RootCerts::WebPki), |(name, pem)| roots_in(name, &pem))
}

fn proxy(get: Variables<'_>, url: &str) -> Result<Option<Proxy>, SendError> {
    let address = proxy::from_vars(get, url, &mut |_| {});
    address
        .map(|address| Proxy::new(&address))
        .transpose()
        .map_err(|_| SendError::new(SendResult::Refused, "the proxy's address is not understood"))
}

/// ureq does not look for a proxy by itself: a SOCKS proxy would keep it from an http one.
/// `timeout` is the user's, for an answer. A request with a `limit` ends in that time, and its
/// answer's body may take what is left: a secret arrives in the body.
fn config(
    roots: RootCerts,
    proxy: Option<Proxy>,
    timeout: Option<Duration>,
    limit: Option<Duration>,
) -> Config {
    let timeout = timeout.map_or(RESPONSE_TIMEOUT, |timeout| timeout.min(RESPONSE_TIMEOUT));
    Config::builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .input_buffer_size(HTTP_BUFFER_SIZE)
        .output_buffer_size(HTTP_BUFFER_SIZE)
        .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
        .timeout_recv_response(Some(timeout))
        .timeout_recv_body(limit.is_none().then_some(ANSWER_TIMEOUT))
        .timeout_global(limit)
        .tls_config(
            TlsConfig::builder()
                .root_certs(roots)
                .unversioned_rustls_crypto_provider(tls::crypto())
                .build(),
        )
        .build()
}

fn roots_in(name: &str, pem: &[u8]) -> Result<RootCerts, SendError> {
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        let text = [name, ": there is no certificate in it"].concat();
        return Err(SendError::new(SendResult::Refused, text));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Gives ureq the body, and tells the agent just before. ureq asks for the body only after it has
/// connected, agreed on TLS and written the head of the request.
struct BodyReader<'a> {
    rest: &'a [u8],
    has_begun: bool,
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            // Nothing may leave before the agent knows.
            sys::write_line(Stream::Stdout, b"\n")?;
            self.has_begun = true;
            // From here on the body may be lost, so a failure must be logged.
            heap::set_silent(false);
        }
        self.rest.read(buffer)
    }
}
