//! One request for a key or for credentials, and its answer.
//!
//! In: a request, and until when all of them together must have ended. Out: the status, and at
//! most 64 KiB of body, which is wiped when it is dropped. No request goes through a proxy: the
//! addresses are AWS's, or on this machine.

use std::fmt::{self, Display, Formatter};
use std::io::Read;
use std::time::Instant;

use ureq::http::request::Builder;
use ureq::http::{Request, Response, Uri};
use ureq::tls::RootCerts;
use ureq::{Body, Error, SendBody};
use zeroize::Zeroizing;

use crate::child::{config, exchange};

/// The longest answer. A secret has at most 64 KiB, with its escapes perhaps more.
const BODY_MAX: usize = 64 * 1024;

/// Makes requests, all of which end before `until`.
pub(in crate::child) struct Http {
    pub(in crate::child) roots: RootCerts,
    pub(in crate::child) until: Instant,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
pub(in crate::child) enum HttpError {
    Status(u16),
    TooLate,
    Failed(Error),
    Other(&'static str),
}

impl Display for HttpError {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(out, "it answered {status}"),
            Self::TooLate => out.write_str("it has not answered in time"),
            Self::Failed(error) => write!(out, "{error}"),
            Self::Other(text) => out.write_str(text),
        }
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        match error {
            Error::Timeout(_) => Self::TooLate,
            // A body that comes too slowly.
            Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Self::TooLate,
            error => Self::Failed(error),
        }
    }
}

impl Http {
    pub(super) fn get(&self, uri: Uri, header: (&str, &str)) -> Result<Answer, HttpError> {
        self.run(Request::get(uri).header(header.0, header.1), SendBody::none())
    }

    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        mut body: &[u8],
    ) -> Result<Answer, HttpError> {
        let mut request = Request::post(url).header("content-length", body.len().to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request, SendBody::from_reader(&mut body))
    }

    fn run(&self, request: Builder, body: SendBody<'_>) -> Result<Answer, HttpError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(HttpError::TooLate);
        }
        let config = config(self.roots.clone(), None, None, Some(left));
        let mut response = exchange(config, request, body)?;
        let body = read(&mut response)?;
        Ok(Answer { status: response.status().as_u16(), body })
    }
}

fn read(response: &mut Response<Body>) -> Result<Zeroizing<Vec<u8>>, HttpError> {
    // With room for all of it, no copy of a part stays behind.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_MAX + 1));
    let reader = response.body_mut().as_reader();
    reader.take(BODY_MAX as u64 + 1).read_to_end(&mut body).map_err(Error::from)?;
    if body.len() > BODY_MAX {
        return Err(HttpError::Other("its answer is longer than 64 KiB"));
    }
    Ok(body)
}
