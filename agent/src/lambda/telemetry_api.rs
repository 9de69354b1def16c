//! The Telemetry API: subscribe, then listen for what Lambda posts.
//!
//! In: the bytes of a few connections. Out: events, through each connection's own scanner. A body
//! is never held: it passes through one small buffer. Nothing here waits.
//!
//! A slow or silent sender keeps no other sender out. When a new connection waits, an old one makes
//! room: at once if it is between two requests, after 100 ms of silence, or when its request has
//! lasted for 2 s. A connection that has brought a platform event makes room only after all others,
//! and one that has done so with Lambda's [`PathToken`] last. So other processes of the environment
//! cannot push Lambda out.
//!
//! A request is answered only when the event loop calls [`Telemetry::answer`], after the journal
//! has saved what the request changed. If the process is killed before that, Lambda sends the
//! request again.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use oom_witness_core::{Event, Skipped};

use crate::logger::warn_once;
use crate::sys::{self, is_shortage};

mod slot;
mod subscription;
mod token;

use slot::Slot;
use token::{PathToken, RequestSender, TEXT_SIZE};

pub(crate) use subscription::{SubscribeResult, subscribe};
pub(crate) use token::TOKEN_SIZE;

/// Connections at once. Lambda uses one; the second is for when Lambda has abandoned the first
/// without closing it. With these, and one that is just being accepted, the agent has at most ten
/// open files.
pub(crate) const CONNECTIONS_MAX: usize = 2;

/// Connections that are accepted before the others are read.
const ACCEPTS_MAX: usize = 10;

/// The piece in which bodies are read.
const BUFFER_SIZE: usize = 4096;

/// Ports that are tried after a taken one.
const PORTS_MAX: u16 = 100;

/// Lets the kernel choose a port.
const PORT_ANY: u16 = 0;

/// The pause between two tries to listen.
const PAUSE: Duration = Duration::from_millis(20);

/// Lambda's own port, which a subscription may not name.
pub(crate) const PORT_RESERVED: u16 = 9001;

/// The listener and its connections.
pub(crate) struct Telemetry {
    listener: Option<TcpListener>,
    /// [`Telemetry::make_room`] makes room for all at the start. A page is touched only when it is
    /// needed.
    slots: Vec<Slot>,
    token: PathToken,
    /// A connection may begin with the rest of a record whose start the previous process has read.
    is_in_doubt: bool,
    /// Connections that were closed to make room for a new one.
    pub(crate) evicted: u32,
    /// Requests that were not read, since they lacked the token.
    pub(crate) foreign_requests: u32,
}

/// What has happened on the sockets.
#[derive(Clone, Copy, Default)]
pub(crate) struct Activity {
    /// A connection or bytes have arrived.
    pub(crate) has_heard: bool,
    /// There may be more to read at once.
    pub(crate) has_more: bool,
    /// The kernel lacks memory or descriptors: do not try again at once.
    pub(crate) is_short: bool,
}

impl Telemetry {
    /// The API before a port is bound.
    pub(crate) const fn new() -> Self {
        Self {
            listener: None,
            slots: Vec::new(),
            token: PathToken::none(),
            is_in_doubt: false,
            evicted: 0,
            foreign_requests: 0,
        }
    }

    /// The token of Lambda's requests; all zeros if there is none.
    pub(crate) const fn token(&self) -> [u8; TOKEN_SIZE] {
        self.token.bytes()
    }

    /// Takes over from a previous process with this token: Lambda may still post to its
    /// destination. With `is_in_doubt`, that process may have read the first half of a record that
    /// Lambda cut.
    pub(crate) fn take_over(&mut self, token: [u8; TOKEN_SIZE], is_in_doubt: bool) {
        self.token.set(token);
        self.is_in_doubt = is_in_doubt;
    }

    /// True if a record was cut, broken or lost, so that the next bytes may be the rest of one.
    pub(crate) fn is_in_doubt(&self) -> bool {
        match self.slots.as_slice() {
            [] => self.is_in_doubt,
            slots => slots.iter().any(|slot| slot.scanner.doubts() > 0),
        }
    }

    /// The path of the destination for the subscription, without its slash.
    pub(crate) fn path(&mut self) -> heapless::String<TEXT_SIZE> {
        self.token.choose();
        self.token.text()
    }

    /// Binds `port`, else the next one that is free, else any that the kernel gives. Returns the
    /// port.
    ///
    /// # Errors
    /// No port is free.
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

    /// Makes room for all connections. It has to be the last allocation, since the memory for the
    /// second connection is hardly ever used.
    pub(crate) fn make_room(&mut self) {
        self.slots.reserve_exact(CONNECTIONS_MAX);
    }

    fn try_listen(&mut self, port: u16) -> io::Result<u16> {
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for port in (port..=port.saturating_add(PORTS_MAX)).filter(|port| *port != PORT_RESERVED) {
            // std sets SO_REUSEADDR, so that past connections do not keep a port in use.
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

    /// Until when no connection can be accepted, as all slots are in use; `None` if there is room.
    pub(crate) fn full_until(&self) -> Option<Instant> {
        if self.slots.len() < CONNECTIONS_MAX || self.slots.iter().any(|slot| !slot.is_open()) {
            return None;
        }
        let lowest = self.lowest_rank();
        let candidates = self.slots.iter().filter(|slot| slot.rank == lowest);
        candidates.map(Slot::makes_room_at).min().flatten()
    }

    /// The rank of the connections that have to make room first.
    fn lowest_rank(&self) -> Option<RequestSender> {
        self.slots.iter().filter(|slot| slot.is_open()).map(|slot| slot.rank).min().flatten()
    }

    /// Accepts the connections that wait, as far as there is room.
    pub(crate) fn accept(&mut self, emit: &mut dyn FnMut(&Event)) -> Activity {
        let mut activity = Activity::default();
        let mut has_accepted = false;
        for _ in 0..ACCEPTS_MAX {
            // First read: a sender that closes its connection and opens another then gets the same
            // slot. A connection that has just been accepted is read after the next poll(2).
            for slot in (0..self.slots.len()).filter(|_| !has_accepted) {
                let read = self.read(slot, emit);
                activity.has_heard |= read.has_heard;
                activity.is_short |= read.is_short;
            }
            let now = Instant::now();
            if self.full_until().is_some_and(|until| now < until) {
                break;
            }
            let Some(listener) = &self.listener else { break };
            match sys::accept(listener) {
                Ok(stream) => {
                    has_accepted = true;
                    activity.has_heard = true;
                    self.take_in(stream, now, emit);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The kernel looks for a free descriptor first, even if no connection waits any
                // more.
                Err(_) if has_accepted => break,
                Err(error) => {
                    activity.is_short = is_shortage(&error);
                    if activity.is_short {
                        warn_once!("cannot take a telemetry connection, trying again: {error}");
                    }
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        self.close_silent(emit);
                    }
                    break;
                }
            }
        }
        activity
    }

    /// Puts a connection into the first free slot, or closes another one to make room for it.
    fn take_in(&mut self, stream: TcpStream, now: Instant, emit: &mut dyn FnMut(&Event)) {
        let free = |slots: &[Slot]| slots.iter().position(|slot| !slot.is_open());
        if self.slots.len() < CONNECTIONS_MAX && free(&self.slots).is_none() {
            let is_in_doubt = self.is_in_doubt();
            self.slots.push(Slot::new(stream, now));
            if let Some(slot) = self.slots.last_mut().filter(|_| is_in_doubt) {
                slot.scanner.doubt();
            }
            return;
        }
        if free(&self.slots).is_none() {
            self.close_silent(emit);
        }
        if let Some(slot) = free(&self.slots).and_then(|index| self.slots.get_mut(index)) {
            slot.connect(stream, now);
        }
    }

    /// Closes the connection of the lowest rank that has been silent for longest. One that is
    /// between two requests goes first, since nothing is lost then.
    fn close_silent(&mut self, emit: &mut dyn FnMut(&Event)) {
        let now = Instant::now();
        let lowest = self.lowest_rank();
        let may_go = |slot: &&mut Slot| {
            slot.is_open()
                && slot.owes_no_answer()
                && slot.rank == lowest
                && slot.makes_room_at().is_none_or(|at| at <= now)
        };
        let order = |slot: &&mut Slot| (!slot.is_silent(), slot.last_heard);
        if let Some(slot) = self.slots.iter_mut().filter(may_go).min_by_key(order) {
            slot.close(emit);
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// Reads one piece from the connection in `slot`.
    // A frame of its own: its buffer is on the stack only as long as it is needed.
    #[inline(never)]
    pub(crate) fn read(&mut self, slot: usize, emit: &mut dyn FnMut(&Event)) -> Activity {
        let mut activity = Activity::default();
        let index = slot;
        let Self { slots, token, foreign_requests, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return activity };
        let doubts = slot.scanner.doubts();
        // On the stack, in the place where lines and requests are written at other times.
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_SIZE];
        let Some(stream) = &slot.stream else { return activity };
        match sys::receive(stream, &mut buffer) {
            Ok([]) => slot.end_of_input(emit),
            Ok(piece) => {
                activity.has_heard = true;
                activity.has_more = piece.len() == BUFFER_SIZE;
                let foreign = slot.take(piece, token, emit);
                *foreign_requests = foreign_requests.saturating_add(foreign);
                slot.note_time(Instant::now());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => activity.has_more = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_shortage(&error) => activity.is_short = true,
            Err(_) => slot.close(emit),
        }
        if slot.scanner.doubts() > doubts {
            // The rest of a cut record may come on the other connection.
            let others = self.slots.iter_mut().enumerate().filter(|(other, _)| *other != index);
            others.for_each(|(_, other)| other.scanner.doubt());
        }
        activity
    }

    /// Answers all requests that have ended. Call it when the journal has saved what they changed.
    pub(crate) fn answer(&mut self) {
        for slot in &mut self.slots {
            slot.answer();
        }
    }

    /// True while a request has begun and has not ended.
    pub(crate) fn is_receiving(&self) -> bool {
        !self.slots.iter().all(Slot::is_silent)
    }

    /// What all scanners together have skipped.
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

#[cfg(test)]
mod tests;
