//! The Telemetry API: subscribe, then listen for what Lambda posts.
//!
//! Goes in: the bytes of up to ten connections. Comes out: events, through each connection's own
//! [`Scanner`]. A body is never held: it passes through one small buffer. Nothing here waits, and
//! a slow or silent sender keeps nobody from being read.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use oom_witness_core::{Event, Scanner, Skipped};

use crate::http::{Head, Reader, Side, Step};

mod subscription;

pub(crate) use subscription::{Subscription, subscribe};

/// Connections at once. Lambda uses one; one that it gave up without a word leaves room for nine.
pub(crate) const CONNECTIONS_MAX: usize = 10;

/// The piece in which bodies are read.
const BUFFER_SIZE: usize = 4096;

/// Pieces of one connection that are read before the others have their turn.
const READS_MAX: usize = 16;

/// Ports that are tried behind a taken one.
const PORTS_MAX: u16 = 100;

/// Asks the kernel for a port.
const PORT_ANY: u16 = 0;

/// Between two tries to listen.
const PAUSE: Duration = Duration::from_millis(20);

/// Lambda's own port, which a subscription may not name.
const PORT_RESERVED: u16 = 9001;

/// The listener and its connections.
pub(crate) struct Telemetry {
    listener: Option<TcpListener>,
    /// Room for all is made at the start, a page of it touched only when it is needed.
    slots: Vec<Slot>,
    buffer: [u8; BUFFER_SIZE],
    /// Counts reads, to tell which connection has been silent for longest.
    reads: u32,
    /// Connections given up for a new one.
    pub(crate) evicted: u32,
}

/// What a turn at the sockets came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Turn {
    /// Something arrived.
    pub(crate) heard: bool,
    /// The kernel had no memory or no descriptors for us: do not try again at once.
    pub(crate) is_short: bool,
}

impl Telemetry {
    /// Before the listener is bound.
    pub(crate) const fn new() -> Self {
        Self { listener: None, slots: Vec::new(), buffer: [0; BUFFER_SIZE], reads: 0, evicted: 0 }
    }

    /// Binds `port`, or the next one that is free, or in need whichever the kernel gives; which one
    /// it was.
    ///
    /// # Errors
    /// No port can be had.
    pub(crate) fn listen(&mut self, port: u16) -> io::Result<u16> {
        self.slots.reserve_exact(CONNECTIONS_MAX);
        let mut result = self.try_listen(port);
        for port in [port, port, PORT_ANY, PORT_ANY] {
            if result.is_ok() {
                break;
            }
            thread::sleep(PAUSE);
            result = self.try_listen(port);
        }
        result
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

    /// Takes the connections that wait.
    pub(crate) fn accept(&mut self, emit: &mut dyn FnMut(&Event)) -> Turn {
        let mut turn = Turn::default();
        let Some(listener) = &self.listener else { return turn };
        for _ in 0..CONNECTIONS_MAX {
            match listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok() {
                        turn.heard = true;
                        self.reads = self.reads.wrapping_add(1);
                        self.evicted +=
                            u32::from(take_in(&mut self.slots, stream, self.reads, emit));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    turn.is_short = is_shortage(&error);
                    break;
                }
            }
        }
        turn
    }

    /// Reads from the connection in `slot`, which is ready.
    pub(crate) fn read(&mut self, slot: usize, emit: &mut dyn FnMut(&Event)) -> Turn {
        let mut turn = Turn::default();
        let Some(slot) = self.slots.get_mut(slot) else { return turn };
        self.reads = self.reads.wrapping_add(1);
        slot.last_read = self.reads;
        for _ in 0..READS_MAX {
            let Some(stream) = &mut slot.stream else { break };
            match stream.read(&mut self.buffer) {
                Ok(0) => slot.close(emit),
                Ok(count) => {
                    turn.heard = true;
                    slot.take(self.buffer.get(..count).unwrap_or_default(), emit);
                    if count < BUFFER_SIZE {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_shortage(&error) => {
                    turn.is_short = true;
                    break;
                }
                Err(_) => slot.close(emit),
            }
        }
        turn
    }

    /// True while a request has begun and not ended.
    pub(crate) fn is_receiving(&self) -> bool {
        let receives = |slot: &Slot| slot.stream.is_some() && !slot.reader.is_between_messages();
        self.slots.iter().any(receives)
    }

    /// What all scanners had to leave out.
    pub(crate) fn skipped(&self) -> Skipped {
        let mut sum = Skipped::default();
        for skipped in self.slots.iter().map(|slot| slot.scanner.skipped()) {
            sum.unknown = sum.unknown.saturating_add(skipped.unknown);
            sum.malformed = sum.malformed.saturating_add(skipped.malformed);
            sum.resynchronised = sum.resynchronised.saturating_add(skipped.resynchronised);
        }
        sum
    }
}

/// True if the kernel lacks memory or descriptors, which says nothing about the socket.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOMEM | libc::ENOBUFS | libc::EMFILE | libc::ENFILE | libc::EAGAIN)
    )
}

/// One connection. Its scanner outlives it: the next one in this slot may go on with a record that
/// Lambda had to cut, which is why a lone sender always finds itself in the first slot.
struct Slot {
    scanner: Scanner,
    stream: Option<TcpStream>,
    head: Head,
    last_read: u32,
    reader: Reader,
}

impl Slot {
    fn new(stream: TcpStream, last_read: u32) -> Self {
        Self {
            scanner: Scanner::new(),
            stream: Some(stream),
            head: Head::NONE,
            last_read,
            reader: Reader::new(Side::Server),
        }
    }

    fn take(&mut self, mut input: &[u8], emit: &mut dyn FnMut(&Event)) {
        while self.stream.is_some() {
            match self.reader.step(&mut input) {
                Step::Head(head) => {
                    self.head = head;
                    if head.expects_continue {
                        self.answer(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                }
                Step::Body(piece) if self.head.is_post => self.scanner.feed(piece, emit),
                Step::Body(_) => {}
                Step::End => self.end(emit),
                Step::Broken => return self.close(emit),
                Step::NeedMore => return,
            }
        }
    }

    /// Answers a complete request. Whatever it held, it is taken: an error would bring the same
    /// batch again for ever.
    fn end(&mut self, emit: &mut dyn FnMut(&Event)) {
        let Head { is_post, keep_alive, .. } = self.head;
        self.head.is_post = false;
        if is_post {
            self.scanner.end_body(emit);
        }
        self.answer(match (is_post, keep_alive) {
            (true, true) => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            (true, false) => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            (false, _) => {
                b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n"
            }
        });
        if !keep_alive {
            self.close_stream();
        }
    }

    /// An answer is so short that the socket takes it whole, or the sender does not read.
    fn answer(&mut self, bytes: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        if stream.write_all(bytes).is_err() {
            self.close_stream();
        }
    }

    fn close(&mut self, emit: &mut dyn FnMut(&Event)) {
        if self.head.is_post && !self.reader.is_between_messages() {
            self.scanner.abort_body(emit);
        }
        self.close_stream();
    }

    fn close_stream(&mut self) {
        self.head = Head::NONE;
        self.reader.restart();
        self.stream = None;
    }
}

/// Puts a connection into the first free slot, or into that of the connection that has been silent
/// for longest; true if one had to go.
fn take_in(
    slots: &mut Vec<Slot>,
    stream: TcpStream,
    reads: u32,
    emit: &mut dyn FnMut(&Event),
) -> bool {
    let free = slots.iter().position(|slot| slot.stream.is_none());
    if free.is_none() && slots.len() < CONNECTIONS_MAX {
        slots.push(Slot::new(stream, reads));
        return false;
    }
    let silent = || {
        let silence = |slot: &Slot| reads.wrapping_sub(slot.last_read);
        let longest = slots.iter().enumerate().max_by_key(|(_, slot)| silence(slot));
        longest.map(|(index, _)| index)
    };
    if let Some(slot) = free.or_else(silent).and_then(|index| slots.get_mut(index)) {
        slot.close(emit);
        slot.last_read = reads;
        slot.stream = Some(stream);
    }
    free.is_none()
}
