//! The child: `oom-witness send SINK` makes one request and ends.
//!
//! In: the body on stdin, and the sink's variables. Out: the exit code. One line on stderr, if the
//! sink did not take the body and this is the first try. One byte on stdout, just before the body
//! begins to leave: until then the sink surely has nothing.
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
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy, SendBody};

use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Sink, SinkRequest};
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
        SendResult::Taken | SendResult::Refused => "has refused a metric",
    };
    if !taken.is_empty() {
        sys::wait_for_room(Stream::Stderr);
        logger::say(format_args!("oom-witness: {sink} {taken}: {text}"));
    }
    result.exit_code()
}

/// Why a request failed, and what that means.
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
    let roots = roots(&get)?;
    let proxy = proxy(&get, request.host())?;
    let key = match &request.key {
        Some(source) => key::fetch(source, &get, roots.clone())
            .map_err(|text| SendError::new(SendResult::NotTaken, text))?,
        None => SecretHeaders(Vec::new()),
    };
    let agent = Agent::with_parts(
        config(roots, proxy, None),
        connection::connector(),
        connection::LibcResolver,
    );
    let mut post = agent.post(&request.url).header("Content-Length", body.len().to_string());
    for (name, value) in &request.headers {
        post = post.header(*name, value);
    }
    for (name, value) in &key.0 {
        post = post.header(name.as_ref(), value);
    }
    let mut body = BodyReader { rest: body, has_begun: false };
    let response = post.send(SendBody::from_reader(&mut body));
    match response {
        Ok(response) => {
            let status = response.status().as_u16();
            match sink.result_of(status) {
                SendResult::Taken => Ok(()),
                result => Err(SendError::new(result, format!("it answered {status}"))),
            }
        }
        Err(error) => {
            let result = if body.has_begun { SendResult::Unknown } else { SendResult::NotTaken };
            Err(SendError::new(result, error.to_string()))
        }
    }
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
fn roots(get: Variables<'_>) -> Result<RootCerts, SendError> {
    let pem = certificates::from_vars(get);
    let pem = pem.map_err(|text| SendError::new(SendResult::Refused, text))?;
    pem.map_or(Ok(RootCerts::WebPki), |pem| roots_in(&pem))
}

fn proxy(get: Variables<'_>, host: &str) -> Result<Option<Proxy>, SendError> {
    let address = proxy::from_vars(get, host, &mut |_| {});
    address
        .map(|address| Proxy::new(&address))
        .transpose()
        .map_err(|_| SendError::new(SendResult::Refused, "the proxy's address is not understood"))
}

/// ureq does not look for a proxy by itself: a SOCKS proxy would keep it from an http one. It is
/// given a `limit` only for a whole request, which would start a thread with its own resolver.
fn config(roots: RootCerts, proxy: Option<Proxy>, limit: Option<Duration>) -> Config {
    Config::builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .input_buffer_size(HTTP_BUFFER_SIZE)
        .output_buffer_size(HTTP_BUFFER_SIZE)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT))
        .timeout_global(limit)
        .tls_config(
            TlsConfig::builder()
                .root_certs(roots)
                .unversioned_rustls_crypto_provider(tls::crypto())
                .build(),
        )
        .build()
}

fn roots_in(pem: &[u8]) -> Result<RootCerts, SendError> {
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        let text = "SSL_CERT_FILE: there is no certificate in it";
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
