//! HTTP/1.1 framing: where a message's head ends, which bytes are its body, where the next begins.
//!
//! In: the bytes of a connection in pieces of any size. Out: [`MessagePart`]s. A head is kept whole
//! in a fixed buffer; a body is never kept. It does no I/O and allocates nothing.
//!
//! ```text
//! POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody   ->  Head, Body("body"), End
//! ```

use httparse::Status;

mod head;

use head::{BodyFraming, FramingError, ParsedHead, parse};

pub(crate) use head::Head;

/// The longest head that can be framed. Lambda's have 250 bytes.
pub(crate) const HEAD_SIZE: usize = 2048;

/// The most digits of a chunk's size: more would not fit into 64 bits, with one to spare.
const CHUNK_DIGITS_MAX: u8 = 15;

/// Follows the messages of one direction of one connection.
pub(crate) struct MessageReader {
    head: [u8; HEAD_SIZE],
    head_length: usize,
    state: ReaderState,
    side: Side,
}

/// Our side of a connection, which tells which messages arrive.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Side {
    /// Requests arrive.
    Server,
    /// Responses arrive.
    Client,
}

/// What the next bytes are.
#[derive(Clone, Copy)]
enum ReaderState {
    Head,
    /// This many bytes of a body.
    Length(u64),
    /// A body that lasts until the connection ends.
    UntilClose,
    ChunkSize(ChunkSize),
    ChunkData(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Lines after the last chunk; `true` while the current one is empty.
    Trailer(bool),
    Broken,
}

/// The part of a chunk's size line that has been read.
#[derive(Clone, Copy, Default)]
struct ChunkSize {
    bytes: u64,
    digits: u8,
    /// The number is complete: an extension or the carriage return follows.
    has_ended: bool,
}

/// The next part of a message.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum MessagePart<'a> {
    /// A whole head. The reader still knows its fields, until [`MessagePart::End`].
    Head(Head),
    /// Bytes of the body.
    Body(&'a [u8]),
    /// The message is complete, and another one may follow.
    End,
    /// These bytes are not HTTP, or more than fits: the connection has to be closed.
    Broken,
    /// All bytes have been read.
    NeedMore,
}

impl MessageReader {
    /// A reader at the beginning of a connection.
    pub(crate) const fn new(side: Side) -> Self {
        Self { head: [0; HEAD_SIZE], head_length: 0, state: ReaderState::Head, side }
    }

    /// Forgets everything, for the bytes of a new connection.
    pub(crate) fn restart(&mut self) {
        self.head_length = 0;
        self.state = ReaderState::Head;
    }

    /// Finds the next part, and cuts the bytes that it has read off `input`.
    pub(crate) fn next_part<'a>(&mut self, input: &mut &'a [u8]) -> MessagePart<'a> {
        loop {
            match self.state {
                ReaderState::Head => {
                    if let Some(part) = self.next_head(input) {
                        return part;
                    }
                }
                ReaderState::Length(0) => return self.end(),
                ReaderState::Length(left) => {
                    let (body, left) = take(input, left);
                    self.state = ReaderState::Length(left);
                    return if body.is_empty() {
                        MessagePart::NeedMore
                    } else {
                        MessagePart::Body(body)
                    };
                }
                ReaderState::UntilClose => {
                    let body = std::mem::take(input);
                    return if body.is_empty() {
                        MessagePart::NeedMore
                    } else {
                        MessagePart::Body(body)
                    };
                }
                ReaderState::ChunkData(0) => self.state = ReaderState::ChunkEnd,
                ReaderState::ChunkData(left) => {
                    let (body, left) = take(input, left);
                    self.state = ReaderState::ChunkData(left);
                    return if body.is_empty() {
                        MessagePart::NeedMore
                    } else {
                        MessagePart::Body(body)
                    };
                }
                ReaderState::ChunkSize(_) | ReaderState::ChunkEnd | ReaderState::Trailer(_) => {
                    let Some((byte, rest)) = input.split_first() else {
                        return MessagePart::NeedMore;
                    };
                    *input = rest;
                    match self.after_framing_byte(*byte) {
                        Some(state) => self.state = state,
                        None => return self.end(),
                    }
                }
                ReaderState::Broken => return MessagePart::Broken,
            }
        }
    }

    /// True if the current message is complete when the connection ends.
    pub(crate) const fn is_complete_at_close(&self) -> bool {
        matches!(self.state, ReaderState::UntilClose)
    }

    /// True between two messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(self.state, ReaderState::Head) && self.head_length == 0
    }

    /// The target of the request whose head came last.
    pub(crate) fn target(&self) -> &[u8] {
        self.head().split(|byte| *byte == b' ').nth(1).unwrap_or_default()
    }

    /// The value of a header of the head that came last; empty if it is missing or too long.
    pub(crate) fn header<const N: usize>(&self, name: &str) -> heapless::String<N> {
        let mut value = heapless::String::new();
        // A value that does not fit is left out as a whole.
        let _ = head::with_header(self.head(), name, |text| value.push_str(text));
        value
    }

    /// `None` after an interim response, which the real one follows.
    fn next_head(&mut self, input: &mut &[u8]) -> Option<MessagePart<'static>> {
        if input.is_empty() {
            return Some(MessagePart::NeedMore);
        }
        // A head that arrived in one piece is read in place, then copied without the body after it.
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
                Some(MessagePart::NeedMore)
            }
            Ok(Status::Partial) | Err(FramingError) => {
                self.state = ReaderState::Broken;
                Some(MessagePart::Broken)
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

    fn begin_body(&mut self, parsed: &ParsedHead) -> Option<MessagePart<'static>> {
        if (100..200).contains(&parsed.head.status) {
            self.restart();
            return None;
        }
        self.state = match parsed.body {
            BodyFraming::Length(length) => ReaderState::Length(length),
            BodyFraming::Chunked => ReaderState::ChunkSize(ChunkSize::default()),
            BodyFraming::UntilClose => ReaderState::UntilClose,
        };
        Some(MessagePart::Head(parsed.head))
    }

    /// The state after one byte of a chunked body's own framing; `None` if it ends the message.
    fn after_framing_byte(&self, byte: u8) -> Option<ReaderState> {
        match self.state {
            ReaderState::ChunkSize(size) => Some(size.push(byte)),
            ReaderState::ChunkEnd => Some(match byte {
                b'\r' => ReaderState::ChunkEnd,
                b'\n' => ReaderState::ChunkSize(ChunkSize::default()),
                _ => ReaderState::Broken,
            }),
            ReaderState::Trailer(empty) => match byte {
                b'\n' if empty => None,
                b'\n' => Some(ReaderState::Trailer(true)),
                b'\r' => Some(ReaderState::Trailer(empty)),
                _ => Some(ReaderState::Trailer(false)),
            },
            other => Some(other),
        }
    }

    fn end(&mut self) -> MessagePart<'static> {
        self.restart();
        MessagePart::End
    }
}

impl ChunkSize {
    fn push(mut self, byte: u8) -> ReaderState {
        let digit = char::from(byte).to_digit(16);
        match (byte, digit) {
            (b'\n', _) if self.digits == 0 => ReaderState::Broken,
            (b'\n', _) if self.bytes == 0 => ReaderState::Trailer(true),
            (b'\n', _) => ReaderState::ChunkData(self.bytes),
            (_, Some(digit)) if !self.has_ended && self.digits < CHUNK_DIGITS_MAX => {
                self.bytes = self.bytes << 4 | u64::from(digit);
                self.digits += 1;
                ReaderState::ChunkSize(self)
            }
            (b'\r' | b' ' | b'\t' | b';', _) => {
                ReaderState::ChunkSize(Self { has_ended: true, ..self })
            }
            _ if self.has_ended => ReaderState::ChunkSize(self),
            _ => ReaderState::Broken,
        }
    }
}

/// Cuts up to `left` bytes off `input`. Also gives how many of them are still missing.
fn take<'a>(input: &mut &'a [u8], left: u64) -> (&'a [u8], u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    let (taken, rest) = input.split_at_checked(count).unwrap_or_default();
    *input = rest;
    (taken, left - taken.len() as u64)
}

#[cfg(test)]
mod tests;
