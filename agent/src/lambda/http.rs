//! HTTP/1.1 framing: where a message's head ends, which bytes are its body, where the next begins.
//!
//! Goes in: the bytes of a connection in pieces of any size. Comes out: [`Step`]s. A head is kept
//! whole in a fixed buffer and read by httparse; a body is never kept. No I/O, no allocation.
//!
//! ```text
//! POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody   ->  Head, Body("body"), End
//! ```

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Request, Response, Status};

#[cfg(test)]
mod tests;

/// The longest head: Lambda's have 250 bytes. A longer one cannot be framed.
pub(crate) const HEAD_SIZE: usize = 2048;

/// More header lines than that, and a head cannot be framed.
const HEADERS_MAX: usize = 32;

/// Follows the messages of one direction of one connection.
pub(crate) struct Reader {
    head: [u8; HEAD_SIZE],
    head_length: usize,
    state: State,
    side: Side,
}

/// Which kind of message to expect.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Side {
    /// Requests come in.
    Server,
    /// Responses come in.
    Client,
}

/// What the next bytes are.
#[derive(Clone, Copy)]
enum State {
    Head,
    /// This many bytes of a body.
    Length(u64),
    /// A body that the end of the connection ends.
    UntilClose,
    ChunkSize(ChunkSize),
    ChunkData(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Lines behind the last chunk; `true` while the current one is empty.
    Trailer(bool),
    Broken,
}

/// A chunk's size line, read so far.
#[derive(Clone, Copy, Default)]
struct ChunkSize {
    bytes: u64,
    digits: u8,
    /// Behind the number: an extension, or the carriage return.
    ended: bool,
}

/// What was found next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step<'a> {
    /// A whole head. Its fields can still be asked of the reader, until [`Step::End`].
    Head(Head),
    /// Bytes of the body.
    Body(&'a [u8]),
    /// The message is complete; what follows is the next one.
    End,
    /// This is not HTTP, or more than we take: the connection can only be closed.
    Broken,
    /// All bytes are used up.
    NeedMore,
}

/// What a head says about how to go on.
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

impl Reader {
    /// A reader at the beginning of a connection.
    pub(crate) const fn new(side: Side) -> Self {
        Self { head: [0; HEAD_SIZE], head_length: 0, state: State::Head, side }
    }

    /// Forgets everything: the next bytes are those of a new connection.
    pub(crate) fn restart(&mut self) {
        self.head_length = 0;
        self.state = State::Head;
    }

    /// Takes the next step and cuts the bytes that it used off `input`.
    pub(crate) fn step<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        loop {
            match self.state {
                State::Head => {
                    if let Some(step) = self.step_head(input) {
                        return step;
                    }
                }
                State::Length(0) => return self.end(),
                State::Length(left) => {
                    let (body, left) = take(input, left);
                    self.state = State::Length(left);
                    return if body.is_empty() { Step::NeedMore } else { Step::Body(body) };
                }
                State::UntilClose => {
                    let body = std::mem::take(input);
                    return if body.is_empty() { Step::NeedMore } else { Step::Body(body) };
                }
                State::ChunkData(0) => self.state = State::ChunkEnd,
                State::ChunkData(left) => {
                    let (body, left) = take(input, left);
                    self.state = State::ChunkData(left);
                    return if body.is_empty() { Step::NeedMore } else { Step::Body(body) };
                }
                State::ChunkSize(_) | State::ChunkEnd | State::Trailer(_) => {
                    let Some((byte, rest)) = input.split_first() else { return Step::NeedMore };
                    *input = rest;
                    match self.step_chunk(*byte) {
                        Some(state) => self.state = state,
                        None => return self.end(),
                    }
                }
                State::Broken => return Step::Broken,
            }
        }
    }

    /// True if the end of the connection completes the message that was being read.
    pub(crate) const fn is_complete_at_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// True between two messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head) && self.head_length == 0
    }

    /// The target of the request whose head was last given out.
    pub(crate) fn target(&self) -> &[u8] {
        self.head().split(|byte| *byte == b' ').nth(1).unwrap_or_default()
    }

    /// The value of a header of the head that was last given out, cut to `value`'s size.
    pub(crate) fn header<const N: usize>(&self, name: &str) -> heapless::String<N> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut value = heapless::String::new();
        let mut response = Response::new(&mut headers);
        if response.parse(self.head()).is_ok() {
            let is_it = |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
            let found = response.headers.iter().find(|header| is_it(header));
            // A value that does not fit is left out as a whole.
            let _ = value.push_str(found.map_or("", text));
        }
        value
    }

    /// `None` after an interim response: the real one follows.
    fn step_head(&mut self, input: &mut &[u8]) -> Option<Step<'static>> {
        if input.is_empty() {
            return Some(Step::NeedMore);
        }
        // A head that has come in one piece is read where it is, and copied without the body behind it.
        if self.head_length == 0
            && let Ok(Status::Complete(parsed)) = parse(input, self.side)
            && parsed.length <= HEAD_SIZE
        {
            let (head, rest) = input.split_at_checked(parsed.length).unwrap_or_default();
            self.keep(head);
            *input = rest;
            return self.begin_body(&parsed);
        }
        let before = self.head_length;
        self.keep(input);
        match parse(self.head(), self.side) {
            Ok(Status::Complete(parsed)) => {
                *input = input.get(parsed.length.saturating_sub(before)..).unwrap_or_default();
                self.head_length = parsed.length;
                self.begin_body(&parsed)
            }
            Ok(Status::Partial) if self.head_length < HEAD_SIZE => {
                *input = &[];
                Some(Step::NeedMore)
            }
            Ok(Status::Partial) | Err(Unframeable) => {
                self.state = State::Broken;
                Some(Step::Broken)
            }
        }
    }

    fn head(&self) -> &[u8] {
        self.head.get(..self.head_length).unwrap_or_default()
    }

    /// Appends as much as there is room for.
    fn keep(&mut self, piece: &[u8]) {
        let room = self.head.get_mut(self.head_length..).unwrap_or_default();
        let count = room.len().min(piece.len());
        let (to, from) = (room.get_mut(..count), piece.get(..count));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
            self.head_length += count;
        }
    }

    fn begin_body(&mut self, parsed: &Parsed) -> Option<Step<'static>> {
        if (100..200).contains(&parsed.head.status) {
            self.restart();
            return None;
        }
        self.state = parsed.state;
        Some(Step::Head(parsed.head))
    }

    /// The state after one byte of a chunked body's own framing; `None` is the end of the message.
    fn step_chunk(&self, byte: u8) -> Option<State> {
        match self.state {
            State::ChunkSize(size) => Some(size.step(byte)),
            State::ChunkEnd => Some(match byte {
                b'\r' => State::ChunkEnd,
                b'\n' => State::ChunkSize(ChunkSize::default()),
                _ => State::Broken,
            }),
            State::Trailer(empty) => match byte {
                b'\n' if empty => None,
                b'\n' => Some(State::Trailer(true)),
                b'\r' => Some(State::Trailer(empty)),
                _ => Some(State::Trailer(false)),
            },
            other => Some(other),
        }
    }

    fn end(&mut self) -> Step<'static> {
        self.restart();
        Step::End
    }
}

impl ChunkSize {
    fn step(mut self, byte: u8) -> State {
        let digit = char::from(byte).to_digit(16);
        match (byte, digit) {
            (b'\n', _) if self.digits == 0 => State::Broken,
            (b'\n', _) if self.bytes == 0 => State::Trailer(true),
            (b'\n', _) => State::ChunkData(self.bytes),
            (_, Some(digit)) if !self.ended && self.digits < 15 => {
                self.bytes = self.bytes << 4 | u64::from(digit);
                self.digits += 1;
                State::ChunkSize(self)
            }
            (b'\r' | b' ' | b'\t' | b';', _) => State::ChunkSize(Self { ended: true, ..self }),
            _ if self.ended => State::ChunkSize(self),
            _ => State::Broken,
        }
    }
}

/// Why there is no way to tell where a message ends.
struct Unframeable;

struct Parsed {
    length: usize,
    head: Head,
    state: State,
}

fn parse(bytes: &[u8], side: Side) -> Result<Status<Parsed>, Unframeable> {
    // Filling them first would cost a quarter of all that is done here.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut head = Head::NONE;
    let (status, minor, headers) = match side {
        Side::Server => {
            let mut request = Request::new(&mut []);
            let status = request.parse_with_uninit_headers(bytes, &mut headers);
            head.is_post = request.method == Some("POST");
            (status.map_err(|_| Unframeable)?, request.version, request.headers)
        }
        Side::Client => {
            let mut response = Response::new(&mut []);
            let status = ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                bytes,
                &mut headers,
            );
            head.status = response.code.unwrap_or_default();
            (status.map_err(|_| Unframeable)?, response.version, response.headers)
        }
    };
    let Status::Complete(length) = status else { return Ok(Status::Partial) };
    let fields = Fields::of(headers);
    head.keep_alive = if minor == Some(0) { fields.keeps_alive } else { !fields.closes };
    head.expects_continue = fields.expects_continue;
    let state = fields.body_state(side, head.status)?;
    if matches!(state, State::UntilClose) {
        head.keep_alive = false;
    }
    Ok(Status::Complete(Parsed { length, head, state }))
}

/// What the header fields say of a message's framing.
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
    fn body_state(&self, side: Side, status: u16) -> Result<State, Unframeable> {
        if matches!(status, 204 | 304) {
            return Ok(State::Length(0));
        }
        match (self.is_chunked, self.length, side) {
            (Some(true), ..) => Ok(State::ChunkSize(ChunkSize::default())),
            (Some(false), ..) => Err(Unframeable),
            _ if self.has_bad_length => Err(Unframeable),
            (None, Some(length), _) => Ok(State::Length(length)),
            (None, None, Side::Server) => Ok(State::Length(0)),
            (None, None, Side::Client) => Ok(State::UntilClose),
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

/// Cuts up to `left` bytes off `input`; also how many are still missing then.
fn take<'a>(input: &mut &'a [u8], left: u64) -> (&'a [u8], u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    let (taken, rest) = input.split_at_checked(count).unwrap_or_default();
    *input = rest;
    (taken, left - taken.len() as u64)
}
