//! The child: `oom-witness send SINK` makes one request and ends.
//!
//! Goes in: the body on stdin, address and key in the environment. Comes out: the exit code, one
//! line on stderr if the sink did not take it, but for a repetition, and one byte on stdout as soon
//! as the body begins to leave: before it, whatever happens, the sink surely has nothing.
//!
//! | Exit code | The sink | What the agent does |
//! |---|---|---|
//! | 0 | has it | nothing more |
//! | 1 | surely does not have it | sends it again |
//! | 2 | may have it | never sends it again, and says so |
//! | 3 | does not want it | drops it |
//! | 4: no memory was left | surely does not have it before that byte, may have it after it | as 1, as 2 |
//! | another, a signal | the same | the same, and says so |
//!
//! It lives for a second at most, as its parent kills it then. Resolver, TLS and whatever a peer
//! sends are here and nowhere else.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy, SendBody};

use crate::delivery::outbox::Outcome;
use crate::delivery::proxy;
use crate::delivery::sink::datadog::Request;
use crate::logger;
use crate::sys::{self, Stream, heap};

#[cfg(test)]
mod tests;

mod connection;
mod tls;

/// ureq's own are 128 KiB, twice for each connection.
const HTTP_BUFFER_SIZE: usize = 4096;

/// The longest body that the agent hands over.
const BODY_MAX: usize = 4096;

/// The longest file of root certificates: Mozilla's are 220 kB.
const ROOTS_MAX: u64 = 1024 * 1024;

/// Within the second that the agent gives a child. A timeout of ureq's that bounds a whole request
/// would start a thread; the agent bounds it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(900);

/// Sends what is on stdin. `is_again`: the last try was told; a repetition is not.
#[cold]
#[inline(never)]
pub(crate) fn run(sink: &str, is_again: bool) -> u8 {
    heap::leave_to_libc();
    heap::set_silent(is_again);
    let Err(Problem { outcome, text }) = send(sink) else {
        return Outcome::Taken.exit_code();
    };
    let taken = match outcome {
        Outcome::NotTaken if is_again => "",
        Outcome::NotTaken => "has not taken a metric yet",
        Outcome::Unknown => "may not have taken a metric",
        Outcome::Taken | Outcome::Refused => "has refused a metric",
    };
    if !taken.is_empty() {
        sys::wait_for_room(Stream::Stderr);
        logger::say(format_args!("oom-witness: {sink} {taken}: {text}"));
    }
    outcome.exit_code()
}

/// Why a request failed, and what that means.
struct Problem {
    outcome: Outcome,
    text: String,
}

impl Problem {
    fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Self { outcome, text: text.into() }
    }
}

fn send(sink: &str) -> Result<(), Problem> {
    let get = |name: &str| env::var_os(name);
    let request = request(sink, &get)?;
    let mut buffer = [0; BODY_MAX];
    let body = read_body(&mut buffer)?;
    let agent = Agent::with_parts(
        config(&get, request.host())?,
        connection::connector(),
        connection::LibcResolver,
    );
    let mut handing_over = HandingOver { body, has_begun: false };
    let response = agent
        .post(&request.url)
        .header("DD-API-KEY", &request.key)
        .header("Content-Type", "application/json")
        .header("Content-Length", body.len().to_string())
        .send(SendBody::from_reader(&mut handing_over));
    match response {
        Ok(response) => match response.status().as_u16() {
            200..300 => Ok(()),
            status => Err(Problem::new(outcome_of(status), format!("it answered {status}"))),
        },
        Err(error) => {
            let outcome = if handing_over.has_begun { Outcome::Unknown } else { Outcome::NotTaken };
            Err(Problem::new(outcome, error.to_string()))
        }
    }
}

fn request(sink: &str, get: &dyn Fn(&str) -> Option<OsString>) -> Result<Request, Problem> {
    if sink != "datadog" {
        return Err(Problem::new(Outcome::Refused, "there is no such sink"));
    }
    match Request::from_vars(get) {
        Ok(Some(request)) => Ok(request),
        Ok(None) => Err(Problem::new(Outcome::Refused, "DD_API_KEY is not set")),
        Err(ignored) => Err(Problem::new(
            Outcome::Refused,
            [ignored.name, " has to be ", ignored.takes].concat(),
        )),
    }
}

/// The agent has written the whole body before this process began: one read brings all of it,
/// without waiting for an end.
fn read_body(buffer: &mut [u8]) -> Result<&[u8], Problem> {
    loop {
        match io::stdin().lock().read(buffer) {
            Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Problem::new(Outcome::NotTaken, error.to_string())),
        }
    }
}

/// What a status other than 2xx means.
fn outcome_of(status: u16) -> Outcome {
    match status {
        200..300 => Outcome::Taken,
        408 | 429 | 500 | 503 => Outcome::NotTaken,
        502 | 504 => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

fn config(get: &dyn Fn(&str) -> Option<OsString>, host: &str) -> Result<Config, Problem> {
    let roots = match get("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        None => RootCerts::WebPki,
        Some(path) => roots_from(&path)?,
    };
    // Never those that ureq finds by itself: one of SOCKS would keep it from an http one.
    let proxy = match proxy::from_vars(get, host, &mut |_| {}) {
        Some(address) => Some(Proxy::new(&address).map_err(|_| {
            Problem::new(Outcome::Refused, "the proxy's address is not understood")
        })?),
        None => None,
    };
    Ok(Config::builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .input_buffer_size(HTTP_BUFFER_SIZE)
        .output_buffer_size(HTTP_BUFFER_SIZE)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT))
        .tls_config(
            TlsConfig::builder()
                .root_certs(roots)
                .unversioned_rustls_crypto_provider(tls::crypto())
                .build(),
        )
        .build())
}

/// The certificates in the file at `path`: a regular file of at most [`ROOTS_MAX`] bytes.
fn roots_from(path: &OsString) -> Result<RootCerts, Problem> {
    let problem = |text: &str| Problem::new(Outcome::Refused, ["SSL_CERT_FILE: ", text].concat());
    let pem = read_roots(path).map_err(|error| problem(&error.to_string()))?;
    let Some(pem) = pem else { return Err(problem("it takes a regular file of at most 1 MiB")) };
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(problem("there is no certificate in it"));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Reads the file at `path`; `None` if it is none that can be read to its end, or is too long.
fn read_roots(path: &OsString) -> io::Result<Option<Vec<u8>>> {
    // A pipe that nobody writes to must not be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > ROOTS_MAX {
        return Ok(None);
    }
    let mut pem = Vec::new();
    // It may grow meanwhile.
    file.take(ROOTS_MAX + 1).read_to_end(&mut pem)?;
    Ok(Some(pem).filter(|pem| pem.len() as u64 <= ROOTS_MAX))
}

/// The body, which tells the agent when it begins to leave. ureq asks for it only when the
/// connection stands, TLS is agreed and the head has been written.
struct HandingOver<'a> {
    body: &'a [u8],
    has_begun: bool,
}

impl Read for HandingOver<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            // If the agent cannot be told, nothing may leave.
            sys::write_line(Stream::Stdout, b"\n")?;
            self.has_begun = true;
            // From here on it is no repetition: it may be lost.
            heap::set_silent(false);
        }
        self.body.read(buffer)
    }
}
