//! One message's head: its fields, and how the end of its body is found.
//!
//! In: the bytes of a head. Out: a [`ParsedHead`], or that the head is not complete. Nothing is
//! kept.

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Request, Response, Status};

use super::Side;

/// A head with more header lines cannot be framed.
const HEADERS_MAX: usize = 32;

/// What a head says about the rest of the message and of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    /// A response's status; 0 in a request.
    pub(crate) status: u16,
    /// The request is a POST.
    pub(crate) is_post: bool,
    /// The sender waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// Another message may follow on this connection.
    pub(crate) keep_alive: bool,
}

impl Head {
    /// No head.
    pub(crate) const NONE: Self =
        Self { status: 0, is_post: false, expects_continue: false, keep_alive: false };
}

/// Nobody can tell where the message ends.
pub(super) struct FramingError;

/// A head that has been parsed.
pub(super) struct ParsedHead {
    pub(super) length: usize,
    pub(super) head: Head,
    pub(super) body: BodyFraming,
}

/// How the end of a body is found.
pub(super) enum BodyFraming {
    Chunked,
    Length(u64),
    UntilClose,
}

/// Parses the head at the start of `bytes`.
///
/// # Errors
/// This is no HTTP, or nobody can tell where the message ends.
pub(super) fn parse(bytes: &[u8], side: Side) -> Result<Status<ParsedHead>, FramingError> {
    // Uninitialised: to fill them first would be a quarter of all the work here.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut head = Head::NONE;
    let (status, minor, headers) = match side {
        Side::Server => {
            let mut request = Request::new(&mut []);
            let status = request.parse_with_uninit_headers(bytes, &mut headers);
            head.is_post = request.method == Some("POST");
            (status.map_err(|_| FramingError)?, request.version, request.headers)
        }
        Side::Client => {
            let mut response = Response::new(&mut []);
            let status = ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                bytes,
                &mut headers,
            );
            head.status = response.code.unwrap_or_default();
            (status.map_err(|_| FramingError)?, response.version, response.headers)
        }
    };
    let Status::Complete(length) = status else { return Ok(Status::Partial) };
    let fields = Fields::of(headers);
    head.keep_alive = if minor == Some(0) { fields.keeps_alive } else { !fields.closes };
    head.expects_continue = fields.expects_continue;
    let body = fields.body_framing(side, head.status)?;
    if matches!(body, BodyFraming::UntilClose) {
        head.keep_alive = false;
    }
    Ok(Status::Complete(ParsedHead { length, head, body }))
}

/// Calls `take` with the value of a header of a response's head, if it is there.
pub(super) fn with_header<T>(head: &[u8], name: &str, take: impl FnOnce(&str) -> T) -> Option<T> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    response.parse(head).ok()?;
    let is_it = |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
    response.headers.iter().find(|header| is_it(header)).map(text).map(take)
}

/// The header fields that decide a message's framing.
#[derive(Default)]
struct Fields {
    closes: bool,
    keeps_alive: bool,
    expects_continue: bool,
    /// Whether the last transfer coding is `chunked`; `None` without any.
    is_chunked: Option<bool>,
    length: Option<u64>,
    has_bad_length: bool,
}

impl Fields {
    /// Reads all headers in one pass.
    fn of(headers: &[Header<'_>]) -> Self {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                6 if is("expect") => fields.expects_continue |= has_token(header, "100-continue"),
                10 if is("connection") => {
                    fields.closes |= has_token(header, "close");
                    fields.keeps_alive |= has_token(header, "keep-alive");
                }
                14 if is("content-length") => fields.take_length(text(header).trim()),
                17 if is("transfer-encoding") => {
                    fields.is_chunked = Some(text(header).trim().eq_ignore_ascii_case("chunked"));
                }
                _ => {}
            }
        }
        fields
    }

    fn take_length(&mut self, value: &str) {
        // `parse` alone would also take a sign.
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let length = value.parse::<u64>().ok().filter(|_| is_number);
        self.has_bad_length |=
            length.is_none() || self.length.is_some_and(|_| self.length != length);
        self.length = length;
    }

    /// How the body is framed (RFC 9112, section 6.3).
    fn body_framing(&self, side: Side, status: u16) -> Result<BodyFraming, FramingError> {
        if matches!(status, 204 | 304) {
            return Ok(BodyFraming::Length(0));
        }
        match (self.is_chunked, self.length, side) {
            (Some(true), ..) => Ok(BodyFraming::Chunked),
            (Some(false), ..) => Err(FramingError),
            _ if self.has_bad_length => Err(FramingError),
            (None, Some(length), _) => Ok(BodyFraming::Length(length)),
            (None, None, Side::Server) => Ok(BodyFraming::Length(0)),
            (None, None, Side::Client) => Ok(BodyFraming::UntilClose),
        }
    }
}

fn has_token(header: &Header<'_>, token: &str) -> bool {
    text(header).split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// A header's value; one that is not UTF-8 is read as empty.
fn text<'a>(header: &Header<'a>) -> &'a str {
    std::str::from_utf8(header.value).unwrap_or_default()
}
