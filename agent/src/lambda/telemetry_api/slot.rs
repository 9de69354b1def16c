//! One connection of the telemetry listener: requests in, events and answers out.
//!
//! In: bytes, in pieces of any size. Out: events through the slot's scanner, and the answers that
//! the sender waits for. It never reads the socket itself, and answers only when it is told to.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use oom_witness_core::{Event, EventKind, Scanner};

use super::token::{PathToken, RequestSender};
use crate::lambda::http::{Head, MessagePart, MessageReader, Side};
use crate::logger::warn_once;

/// A connection that is silent for this long, in the middle of a request or before its first one,
/// may have to make room. It is less than the silence after which SHUTDOWN expects nothing more.
const STALL: Duration = Duration::from_millis(100);

/// A request that has lasted this long since its first byte may have to make room.
const REQUEST_MAX: Duration = Duration::from_secs(2);

/// Requests of one connection that may wait for their answers. Lambda waits for each answer before
/// it sends the next request. A sender that is further ahead loses its connection, and has to send
/// again.
const ANSWERS_MAX: usize = 8;

/// One connection. Its scanner outlives it: the next connection in this slot may continue a record
/// that Lambda had to cut. So a single sender always gets the first slot.
pub(super) struct Slot {
    pub(super) scanner: Scanner,
    pub(super) stream: Option<TcpStream>,
    head: Head,
    /// True if the body of the current request is read.
    takes_events: bool,
    /// Who sends the current request.
    sender: RequestSender,
    /// True if bytes have arrived on this connection.
    has_spoken: bool,
    /// The best sender of a request that has brought a platform event on this connection.
    pub(super) rank: Option<RequestSender>,
    pub(super) last_heard: Instant,
    /// When the first byte of the current request arrived.
    began: Option<Instant>,
    /// Answers that are not sent yet, in this order.
    answers: heapless::Vec<&'static [u8], ANSWERS_MAX>,
    /// The connection is closed after the last of these answers.
    closes: bool,
    reader: MessageReader,
}

impl Slot {
    /// A slot whose first connection is `stream`.
    pub(super) fn new(stream: TcpStream, last_heard: Instant) -> Self {
        Self {
            scanner: Scanner::new(),
            stream: Some(stream),
            head: Head::NONE,
            takes_events: false,
            sender: RequestSender::Unknown,
            has_spoken: false,
            rank: None,
            last_heard,
            began: None,
            answers: heapless::Vec::new(),
            closes: false,
            reader: MessageReader::new(Side::Server),
        }
    }

    /// Begins with another connection.
    pub(super) fn connect(&mut self, stream: TcpStream, now: Instant) {
        self.stream = Some(stream);
        self.has_spoken = false;
        self.rank = None;
        self.last_heard = now;
        self.began = None;
    }

    /// True between two requests, and without a connection.
    pub(super) fn is_silent(&self) -> bool {
        self.stream.is_none() || self.reader.is_between_messages()
    }

    /// Notes that bytes have arrived at `now`.
    pub(super) fn note_time(&mut self, now: Instant) {
        self.last_heard = now;
        if self.is_silent() {
            self.began = None;
        } else {
            self.began.get_or_insert(now);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn owes_no_answer(&self) -> bool {
        self.answers.is_empty()
    }

    /// When this connection can be closed for another one; `None` if at once, as it is between two
    /// requests and owes no answer.
    pub(super) fn makes_room_at(&self) -> Option<Instant> {
        if self.has_spoken && self.reader.is_between_messages() && self.owes_no_answer() {
            return None;
        }
        let stalled = self.last_heard + STALL;
        Some(self.began.map_or(stalled, |began| stalled.min(began + REQUEST_MAX)))
    }

    /// Takes bytes of the connection. Returns how many requests began in them that are not read.
    pub(super) fn take(
        &mut self,
        mut input: &[u8],
        token: &mut PathToken,
        emit: &mut dyn FnMut(&Event),
    ) -> u32 {
        self.has_spoken = true;
        let mut foreign_requests = 0;
        while self.stream.is_some() && !self.closes {
            match self.reader.next_part(&mut input) {
                MessagePart::Head(head) => {
                    self.head = head;
                    if head.is_post {
                        foreign_requests += self.admit(token);
                    }
                    if head.expects_continue {
                        self.answer_later(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                }
                MessagePart::Body(piece) if self.takes_events => self.scan(piece, emit),
                MessagePart::Body(_) => {}
                MessagePart::End => self.end(emit),
                MessagePart::Broken => {
                    self.end_of_input(emit);
                    break;
                }
                MessagePart::NeedMore => break,
            }
        }
        foreign_requests
    }

    /// Decides whether the request that begins is read; 1 if it is not.
    fn admit(&mut self, token: &mut PathToken) -> u32 {
        self.sender = token.sender_of(self.reader.target());
        self.takes_events = self.sender != RequestSender::OtherProcess;
        if !self.takes_events {
            warn_once!(
                "a process other than Lambda posts to the telemetry port: its requests are not read"
            );
        }
        u32::from(!self.takes_events)
    }

    fn scan(&mut self, piece: &[u8], emit: &mut dyn FnMut(&Event)) {
        let Self { scanner, rank, sender, .. } = self;
        scanner.feed(piece, &mut ranking(rank, *sender, emit));
    }

    /// Chooses the answer to a complete request. It is 200 whatever the body was, since Lambda
    /// would repeat a refused batch for ever.
    fn end(&mut self, emit: &mut dyn FnMut(&Event)) {
        let Head { is_post, keep_alive, .. } = self.head;
        self.head.is_post = false;
        // Bytes after it in the same piece belong to another request.
        self.began = None;
        if self.takes_events {
            self.takes_events = false;
            let Self { scanner, rank, sender, .. } = self;
            scanner.end_body(&mut ranking(rank, *sender, emit));
        }
        self.closes = !keep_alive;
        self.answer_later(match (is_post, keep_alive) {
            (true, true) => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            (true, false) => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            (false, _) => {
                b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n"
            }
        });
    }

    fn answer_later(&mut self, bytes: &'static [u8]) {
        if self.answers.push(bytes).is_err() {
            self.close_stream();
        }
    }

    /// Sends the answers. They are so short that the socket takes each whole, unless the sender
    /// does not read.
    pub(super) fn answer(&mut self) {
        for bytes in core::mem::take(&mut self.answers) {
            let Some(stream) = &mut self.stream else { return };
            if stream.write_all(bytes).is_err() {
                return self.close_stream();
            }
        }
        if self.closes {
            self.close_stream();
        }
    }

    /// Notes that nothing more can be read. The sender may still wait for its answers.
    pub(super) fn end_of_input(&mut self, emit: &mut dyn FnMut(&Event)) {
        if self.owes_no_answer() {
            return self.close(emit);
        }
        self.abort_request(emit);
        self.closes = true;
    }

    /// Closes the connection, in the middle of a request if there is one.
    pub(super) fn close(&mut self, emit: &mut dyn FnMut(&Event)) {
        self.abort_request(emit);
        self.close_stream();
    }

    fn abort_request(&mut self, emit: &mut dyn FnMut(&Event)) {
        if self.takes_events && !self.reader.is_between_messages() {
            self.scanner.abort_body(emit);
        }
        self.takes_events = false;
        self.head = Head::NONE;
        self.reader.restart();
    }

    fn close_stream(&mut self) {
        self.head = Head::NONE;
        self.takes_events = false;
        self.reader.restart();
        self.answers.clear();
        self.closes = false;
        self.stream = None;
    }
}

/// Passes events on. A platform event raises the connection's rank to its sender's.
fn ranking<'a>(
    rank: &'a mut Option<RequestSender>,
    sender: RequestSender,
    emit: &'a mut dyn FnMut(&Event),
) -> impl FnMut(&Event) + 'a {
    move |event| {
        if !matches!(event.kind, EventKind::Function(_)) {
            *rank = (*rank).max(Some(sender));
        }
        emit(event);
    }
}
