//! The Telemetry API: subscribe, then listen for what Lambda posts.
//!
//! Goes in: the bytes of a few connections. Comes out: events, through each connection's own
//! [`Scanner`]. A body is never held: it passes through one small buffer. Nothing here waits.
//!
//! A slow or silent sender keeps nobody from being read. Where somebody waits for a connection, one that
//! has nothing to say makes room at once, one that says nothing for 100 ms, and one whose request does
//! not end within 2 s. A connection that has brought an event of the platform goes last of all, and after
//! it one that has done so with Lambda's [`Token`]: other processes of the environment cannot push Lambda
//! out.
//!
//! A request is answered only when the event loop calls [`Telemetry::answer`], after the journal holds
//! what the request said. A process that is killed before that gets the same request again.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use oom_witness_core::{Event, EventKind, Scanner, Skipped};

use crate::lambda::http::{Head, Reader, Side, Step};
use crate::sys::{self, is_shortage};
use crate::warn_once;

mod subscription;
mod token;

pub(crate) use subscription::{Subscription, subscribe};
pub(crate) use token::TOKEN_SIZE;
use token::{Admission, Token};

/// Connections at once. Lambda uses one; one that it gave up without a word leaves room for it. With
/// these, and another that is taken while they last, the agent has ten open files at the most.
pub(crate) const CONNECTIONS_MAX: usize = 2;

/// A sender that says nothing for so long, in the middle of a request or before its first, may have to
/// make room. Less than the silence after which SHUTDOWN expects nothing more.
const STALL: Duration = Duration::from_millis(100);

/// How long a request may take from its first byte, where somebody else waits for a connection.
const REQUEST_MAX: Duration = Duration::from_secs(2);

/// Connections that are taken before the others have their turn.
const ACCEPTS_MAX: usize = 10;

/// The piece in which bodies are read.
const BUFFER_SIZE: usize = 4096;

/// Ports that are tried behind a taken one.
const PORTS_MAX: u16 = 100;

/// Requests of one connection that may wait for their answers. Lambda waits for each answer before it
/// sends the next request; a sender that is further ahead loses its connection, and has to send again.
const ANSWERS_MAX: usize = 8;

/// Asks the kernel for a port.
const PORT_ANY: u16 = 0;

/// Between two tries to listen.
const PAUSE: Duration = Duration::from_millis(20);

/// Lambda's own port, which a subscription may not name.
pub(crate) const PORT_RESERVED: u16 = 9001;

/// The listener and its connections.
pub(crate) struct Telemetry {
    listener: Option<TcpListener>,
    /// [`Telemetry::make_room`] makes room for all at the start; a page is touched only when it is needed.
    slots: Vec<Slot>,
    token: Token,
    /// A connection may begin with the rest of a record that another process has begun to read.
    is_in_doubt: bool,
    /// Connections given up for a new one.
    pub(crate) evicted: u32,
    /// Requests that were not read, since they had not the token.
    pub(crate) strangers: u32,
}

/// What a turn at the sockets came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Turn {
    /// Something arrived.
    pub(crate) heard: bool,
    /// There may be more to read at once.
    pub(crate) has_more: bool,
    /// The kernel had no memory or no descriptors for us: do not try again at once.
    pub(crate) is_short: bool,
}

impl Telemetry {
    /// Before the listener is bound.
    pub(crate) const fn new() -> Self {
        Self {
            listener: None,
            slots: Vec::new(),
            token: Token::none(),
            is_in_doubt: false,
            evicted: 0,
            strangers: 0,
        }
    }

    /// What Lambda's requests are known by; all zeros if there is nothing.
    pub(crate) const fn token(&self) -> [u8; TOKEN_SIZE] {
        self.token.bytes()
    }

    /// Goes on after a process with this token, to whose destination Lambda may still post, and which
    /// may have read the first half of a record that Lambda cut.
    pub(crate) fn go_on(&mut self, token: [u8; TOKEN_SIZE], is_in_doubt: bool) {
        self.token.set(token);
        self.is_in_doubt = is_in_doubt;
    }

    /// A record was cut or broken, or lost: what comes next may be the rest of one.
    pub(crate) fn is_in_doubt(&self) -> bool {
        match self.slots.as_slice() {
            [] => self.is_in_doubt,
            slots => slots.iter().any(|slot| slot.scanner.doubts() > 0),
        }
    }

    /// The path of the destination to subscribe with, without its slash.
    pub(crate) fn path(&mut self) -> heapless::String<32> {
        self.token.choose();
        self.token.text()
    }

    /// Binds `port`, or the next one that is free, or in need whichever the kernel gives; which one
    /// it was.
    ///
    /// # Errors
    /// No port can be had.
    pub(crate) fn listen(&mut self, port: u16) -> io::Result<u16> {
        let mut result = self.try_listen(port);
        for port in [port, port, PORT_ANY, PORT_ANY] {
            if result.is_ok() {
                break;
            }
            sys::pause(PAUSE);
            result = self.try_listen(port);
        }
        result
    }

    /// Makes room for all connections: behind everything else that is allocated, since what is behind
    /// the first of them is hardly ever used.
    pub(crate) fn make_room(&mut self) {
        self.slots.reserve_exact(CONNECTIONS_MAX);
    }

    fn try_listen(&mut self, port: u16) -> io::Result<u16> {
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for port in (port..=port.saturating_add(PORTS_MAX)).filter(|port| *port != PORT_RESERVED) {
            // std sets SO_REUSEADDR, so that a port is not taken by its own past connections.
            result = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
            match &result {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                _ => break,
            }
        }
        let listener = result?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        self.listener = Some(listener);
        Ok(port)
    }

    /// The listening socket, if there is one.
    pub(crate) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// The connections' sockets, by slot.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = Option<BorrowedFd<'_>>> {
        self.slots.iter().map(|slot| slot.stream.as_ref().map(AsFd::as_fd))
    }

    /// Until when nobody can be taken in, as everybody here is about to say something; `None` if
    /// there is room.
    pub(crate) fn full_until(&self) -> Option<Instant> {
        if self.slots.len() < CONNECTIONS_MAX || self.slots.iter().any(|slot| !slot.is_open()) {
            return None;
        }
        let lowest = self.lowest_rank();
        let candidates = self.slots.iter().filter(|slot| slot.rank == lowest);
        candidates.map(Slot::makes_room_at).min().flatten()
    }

    /// The connections of this rank have to make room.
    fn lowest_rank(&self) -> Option<Admission> {
        self.slots.iter().filter(|slot| slot.is_open()).map(|slot| slot.rank).min().flatten()
    }

    /// Takes the connections that wait, as far as there is room.
    pub(crate) fn accept(&mut self, emit: &mut dyn FnMut(&Event)) -> Turn {
        let mut turn = Turn::default();
        let mut has_taken = false;
        for _ in 0..ACCEPTS_MAX {
            // Whoever closed a connection before making this one has its own slot again. Whom this turn has
            // taken in is read in the next one.
            for slot in (0..self.slots.len()).filter(|_| !has_taken) {
                let read = self.read(slot, emit);
                turn.heard |= read.heard;
                turn.is_short |= read.is_short;
            }
            let now = Instant::now();
            if self.full_until().is_some_and(|until| now < until) {
                break;
            }
            let Some(listener) = &self.listener else { break };
            match sys::accept(listener) {
                Ok(stream) => {
                    has_taken = true;
                    turn.heard = true;
                    self.take_in(stream, now, emit);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Also where nobody waits any longer the kernel looks for a free number first.
                Err(_) if has_taken => break,
                Err(error) => {
                    turn.is_short = is_shortage(&error);
                    if turn.is_short {
                        warn_once!("cannot take a telemetry connection, trying again: {error}");
                    }
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        self.give_up_silent(emit);
                    }
                    break;
                }
            }
        }
        turn
    }

    /// Puts a connection into the first free slot, or into that of the one that has to make room.
    fn take_in(&mut self, stream: TcpStream, now: Instant, emit: &mut dyn FnMut(&Event)) {
        let free = |slots: &[Slot]| slots.iter().position(|slot| slot.stream.is_none());
        if self.slots.len() < CONNECTIONS_MAX && free(&self.slots).is_none() {
            let is_in_doubt = self.is_in_doubt();
            self.slots.push(Slot::new(stream, now));
            if let Some(slot) = self.slots.last_mut().filter(|_| is_in_doubt) {
                slot.scanner.doubt();
            }
            return;
        }
        if free(&self.slots).is_none() {
            self.give_up_silent(emit);
        }
        if let Some(slot) = free(&self.slots).and_then(|index| self.slots.get_mut(index)) {
            slot.stream = Some(stream);
            slot.has_spoken = false;
            slot.rank = None;
            slot.last_heard = now;
            slot.began = None;
        }
    }

    /// Gives up a connection of the lowest rank, the one that has said nothing for longest: rather
    /// between two requests, where nothing is lost, than in the middle of one.
    fn give_up_silent(&mut self, emit: &mut dyn FnMut(&Event)) {
        let now = Instant::now();
        let lowest = self.lowest_rank();
        let may_go = |slot: &&mut Slot| {
            slot.is_open()
                && slot.answers.is_empty()
                && slot.rank == lowest
                && slot.makes_room_at().is_none_or(|at| at <= now)
        };
        let order = |slot: &&mut Slot| (!slot.is_silent(), slot.last_heard);
        if let Some(slot) = self.slots.iter_mut().filter(may_go).min_by_key(order) {
            slot.close(emit);
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// Reads a piece of what the connection in `slot` has.
    // A frame of its own: its buffer is on the stack only as long as it is needed.
    #[inline(never)]
    pub(crate) fn read(&mut self, slot: usize, emit: &mut dyn FnMut(&Event)) -> Turn {
        let mut turn = Turn::default();
        let index = slot;
        let Self { slots, token, strangers, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return turn };
        let doubts = slot.scanner.doubts();
        // On the stack, where lines and requests that are written have been, or will be.
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_SIZE];
        let Some(stream) = &slot.stream else { return turn };
        match sys::receive(stream, &mut buffer) {
            Ok([]) => slot.end_of_input(emit),
            Ok(piece) => {
                turn.heard = true;
                turn.has_more = piece.len() == BUFFER_SIZE;
                slot.has_spoken = true;
                let strange = slot.take(piece, token, emit);
                *strangers = strangers.saturating_add(strange);
                slot.note_time(Instant::now());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => turn.has_more = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_shortage(&error) => turn.is_short = true,
            Err(_) => slot.close(emit),
        }
        if slot.scanner.doubts() > doubts {
            // The rest of a cut record may come on the other connection.
            let others = self.slots.iter_mut().enumerate().filter(|(other, _)| *other != index);
            others.for_each(|(_, other)| other.scanner.doubt());
        }
        turn
    }

    /// Answers all requests that have ended. To be called when the journal holds what they said.
    pub(crate) fn answer(&mut self) {
        for slot in &mut self.slots {
            slot.answer();
        }
    }

    /// True while a request has begun and not ended.
    pub(crate) fn is_receiving(&self) -> bool {
        !self.slots.iter().all(Slot::is_silent)
    }

    /// What all scanners had to leave out.
    pub(crate) fn skipped(&self) -> Skipped {
        let mut sum = Skipped::default();
        for skipped in self.slots.iter().map(|slot| slot.scanner.skipped()) {
            sum.unknown = sum.unknown.saturating_add(skipped.unknown);
            sum.malformed = sum.malformed.saturating_add(skipped.malformed);
            sum.resynchronised = sum.resynchronised.saturating_add(skipped.resynchronised);
            sum.distrusted = sum.distrusted.saturating_add(skipped.distrusted);
        }
        sum
    }
}

/// One connection. Its scanner outlives it: the next one in this slot may go on with a record that
/// Lambda had to cut, which is why a lone sender always finds itself in the first slot.
struct Slot {
    scanner: Scanner,
    stream: Option<TcpStream>,
    head: Head,
    /// The body of the current request is read.
    takes_events: bool,
    /// Who sends it.
    admission: Admission,
    has_spoken: bool,
    /// Whose the connection is, by the best request that has brought an event of the platform.
    rank: Option<Admission>,
    last_heard: Instant,
    /// When the first byte of the current request came.
    began: Option<Instant>,
    /// What is still to be answered, in this order.
    answers: heapless::Vec<&'static [u8], ANSWERS_MAX>,
    /// The connection ends with the last of these answers.
    closes: bool,
    reader: Reader,
}

impl Slot {
    fn new(stream: TcpStream, last_heard: Instant) -> Self {
        Self {
            scanner: Scanner::new(),
            stream: Some(stream),
            head: Head::NONE,
            takes_events: false,
            admission: Admission::Anybody,
            has_spoken: false,
            rank: None,
            last_heard,
            began: None,
            answers: heapless::Vec::new(),
            closes: false,
            reader: Reader::new(Side::Server),
        }
    }

    /// True between two requests, and without a connection.
    fn is_silent(&self) -> bool {
        self.stream.is_none() || self.reader.is_between_messages()
    }

    /// Bytes have come now.
    fn note_time(&mut self, now: Instant) {
        self.last_heard = now;
        if self.is_silent() {
            self.began = None;
        } else {
            self.began.get_or_insert(now);
        }
    }

    fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// When it has to make room; `None` if at once, as it is between two requests and owes no answer.
    fn makes_room_at(&self) -> Option<Instant> {
        if self.has_spoken && self.reader.is_between_messages() && self.answers.is_empty() {
            return None;
        }
        let stalled = self.last_heard + STALL;
        Some(self.began.map_or(stalled, |began| stalled.min(began + REQUEST_MAX)))
    }

    /// Takes bytes of the connection. How many requests began in them that are not read.
    fn take(&mut self, mut input: &[u8], token: &mut Token, emit: &mut dyn FnMut(&Event)) -> u32 {
        let mut strangers = 0;
        while self.stream.is_some() && !self.closes {
            match self.reader.step(&mut input) {
                Step::Head(head) => {
                    self.head = head;
                    if head.is_post {
                        strangers += self.admit(token);
                    }
                    if head.expects_continue {
                        self.answer_later(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                }
                Step::Body(piece) if self.takes_events => self.scan(piece, emit),
                Step::Body(_) => {}
                Step::End => self.end(emit),
                Step::Broken => {
                    self.end_of_input(emit);
                    break;
                }
                Step::NeedMore => break,
            }
        }
        strangers
    }

    /// Looks at who sends the request that begins; 1 if it is not read.
    fn admit(&mut self, token: &mut Token) -> u32 {
        self.admission = token.admits(self.reader.target());
        self.takes_events = self.admission != Admission::Stranger;
        if !self.takes_events {
            warn_once!(
                "a process other than Lambda posts to the telemetry port: its requests are not read"
            );
        }
        u32::from(!self.takes_events)
    }

    fn scan(&mut self, piece: &[u8], emit: &mut dyn FnMut(&Event)) {
        let Self { scanner, rank, admission, .. } = self;
        scanner.feed(piece, &mut ranking(rank, *admission, emit));
    }

    /// Chooses the answer to a complete request. Whatever it held, it is taken: an error would bring
    /// the same batch again for ever.
    fn end(&mut self, emit: &mut dyn FnMut(&Event)) {
        let Head { is_post, keep_alive, .. } = self.head;
        self.head.is_post = false;
        // What follows in the same piece is another request.
        self.began = None;
        if self.takes_events {
            self.takes_events = false;
            let Self { scanner, rank, admission, .. } = self;
            scanner.end_body(&mut ranking(rank, *admission, emit));
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

    /// An answer is so short that the socket takes it whole, or the sender does not read.
    fn answer(&mut self) {
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

    /// Nothing more can be read of the sender. It may still wait for its answers.
    fn end_of_input(&mut self, emit: &mut dyn FnMut(&Event)) {
        if self.answers.is_empty() {
            return self.close(emit);
        }
        self.abort_request(emit);
        self.closes = true;
    }

    fn close(&mut self, emit: &mut dyn FnMut(&Event)) {
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

/// Hands events on, and notes at the first of the platform's whose connection it is.
fn ranking<'a>(
    rank: &'a mut Option<Admission>,
    admission: Admission,
    emit: &'a mut dyn FnMut(&Event),
) -> impl FnMut(&Event) + 'a {
    move |event| {
        if !matches!(event.kind, EventKind::Function(_)) {
            *rank = (*rank).max(Some(admission));
        }
        emit(event);
    }
}

#[cfg(test)]
mod tests;
