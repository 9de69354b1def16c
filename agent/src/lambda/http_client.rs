//! One connection to Lambda's local APIs, one request at a time.
//!
//! In: whole requests. Out: the answer's status and what its body says. At the start the client
//! waits for the answer; for the long poll it reads when the event loop finds the socket readable.
//! A body is read as it arrives and never held, so it may have any size. A request is sent a second
//! time only when the old connection could not take it. Nothing is allocated.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use oom_witness_core::extensions::AnswerReader;

use crate::error::Error;
use crate::lambda::http::{Head, MessagePart, MessageReader, Side};
use crate::sys::{self, SHORTAGE_PAUSE, is_shortage};

/// The longest `host:port` that requests have room for.
const ADDRESS_MAX: usize = 100;

/// The longest `Lambda-Extension-Identifier`. Lambda's are UUIDs, of 36 bytes.
pub(crate) const IDENTIFIER_MAX: usize = 64;

/// The longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The piece in which answers are read.
const BUFFER_SIZE: usize = 1024;

/// The client of one address.
pub(crate) struct ApiClient {
    address: Option<SocketAddr>,
    stream: Option<TcpStream>,
    reader: MessageReader,
    body: AnswerReader,
    head: Option<Head>,
    identifier: heapless::String<IDENTIFIER_MAX>,
    is_nonblocking: bool,
}

/// A complete answer.
pub(crate) struct ApiAnswer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a mut AnswerReader,
    /// The header `Lambda-Extension-Identifier`, if there was one.
    pub(crate) identifier: &'a str,
}

impl ApiClient {
    /// A client that does not know its address yet.
    pub(crate) const fn new() -> Self {
        Self {
            address: None,
            stream: None,
            reader: MessageReader::new(Side::Client),
            body: AnswerReader::new(),
            head: None,
            identifier: heapless::String::new(),
            is_nonblocking: false,
        }
    }

    /// Sets the address: an IP address and a port, as Lambda gives them, or `localhost` and a port,
    /// as emulators do. Other names would need the resolver, which only the child has.
    ///
    /// # Errors
    /// It is neither.
    pub(crate) fn set_address(&mut self, address: &str) -> Result<(), Error> {
        let resolved = match address.strip_prefix("localhost:") {
            Some(port) => port.parse().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            None => address.parse().ok(),
        };
        self.address = resolved.filter(|_| address.len() <= ADDRESS_MAX);
        if self.address.is_none() { Err(Error::RuntimeApiAddress) } else { Ok(()) }
    }

    /// Sends a request and waits for its answer, both until this time.
    ///
    /// # Errors
    /// Those of the socket, `TimedOut`. The connection is closed then, so that a late answer is not
    /// taken for that of another request.
    pub(crate) fn exchange(&mut self, request: &[u8], until: Instant) -> io::Result<ApiAnswer<'_>> {
        self.send_until(request, Some(until))?;
        self.wait(Some(until))
    }

    /// Sends a request. A connection that cannot take it is replaced once. Lambda may have closed a
    /// connection that was kept alive, which can also show only when the answer is read.
    ///
    /// # Errors
    /// Those of the socket. Lambda has not taken the request then, as it was not sent whole.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.send_until(request, None)
    }

    fn send_until(&mut self, request: &[u8], until: Option<Instant>) -> io::Result<()> {
        self.forget_answer();
        if let Some(stream) = &mut self.stream
            && write(stream, request, until).is_ok()
        {
            return Ok(());
        }
        self.close();
        let address = self.address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let time = time_left(until)?.map_or(CONNECT_MAX, |left| left.min(CONNECT_MAX));
        let mut stream = TcpStream::connect_timeout(&address, time)?;
        write(&mut stream, request, until)?;
        stream.set_nonblocking(self.is_nonblocking)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Waits for the answer to what was sent; without `until`, as long as the connection stands.
    ///
    /// # Errors
    /// Those of the socket, `TimedOut`; the connection is closed then.
    pub(crate) fn wait(&mut self, until: Option<Instant>) -> io::Result<ApiAnswer<'_>> {
        loop {
            match self.read_until(until) {
                Ok(true) => return Ok(self.answer()),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_shortage(&error) => sys::pause(SHORTAGE_PAUSE),
                Err(error) => {
                    self.close();
                    return Err(error);
                }
            }
        }
    }

    fn read_until(&mut self, until: Option<Instant>) -> io::Result<bool> {
        if let Some(left) = time_left(until)?
            && let Some(stream) = &self.stream
        {
            stream.set_read_timeout(Some(left))?;
        }
        self.read()
    }

    /// From now on [`ApiClient::read`] answers `WouldBlock` where it would wait.
    ///
    /// # Errors
    /// Those of ioctl(2). The connection is closed then, and the next one does not block.
    pub(crate) fn stop_blocking(&mut self) -> io::Result<()> {
        self.is_nonblocking = true;
        let result = self.stream.as_ref().map_or(Ok(()), |stream| stream.set_nonblocking(true));
        if result.is_err() {
            self.close();
        }
        result
    }

    /// Reads once; true if the answer is complete then.
    ///
    /// # Errors
    /// Those of the socket. The connection stays open.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_SIZE];
        let mut input = sys::receive(stream, &mut buffer)?;
        if input.is_empty() {
            if self.reader.is_complete_at_close() && self.head.is_some() {
                // The end of the connection completes the answer.
                self.stream = None;
                self.reader.restart();
                return Ok(true);
            }
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        loop {
            match self.reader.next_part(&mut input) {
                MessagePart::Head(head) => {
                    // Only the answer to the registration has one, and only the start blocks.
                    if !self.is_nonblocking {
                        self.identifier = self.reader.header("lambda-extension-identifier");
                    }
                    self.head = Some(head);
                }
                MessagePart::Body(bytes) => self.body.feed(bytes),
                MessagePart::End => {
                    if !self.head.is_some_and(|head| head.keep_alive) {
                        self.stream = None;
                    }
                    return Ok(true);
                }
                MessagePart::Broken => return Err(io::ErrorKind::InvalidData.into()),
                MessagePart::NeedMore => return Ok(false),
            }
        }
    }

    /// The answer, once [`ApiClient::read`] has said that it is complete.
    pub(crate) fn answer(&mut self) -> ApiAnswer<'_> {
        let status = self.head.map_or(0, |head| head.status);
        ApiAnswer { status, body: &mut self.body, identifier: &self.identifier }
    }

    fn forget_answer(&mut self) {
        self.head = None;
        self.body.clear();
        self.identifier.clear();
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.stream = None;
        self.reader.restart();
        self.forget_answer();
    }

    /// The socket on which an answer arrives.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }
}

/// Writes a whole request.
fn write(stream: &mut TcpStream, request: &[u8], until: Option<Instant>) -> io::Result<()> {
    if let Some(left) = time_left(until)? {
        stream.set_write_timeout(Some(left))?;
    }
    stream.write_all(request)
}

/// The time left until then; an error if none is left.
fn time_left(until: Option<Instant>) -> io::Result<Option<Duration>> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::ApiClient;

    #[test]
    fn an_address_needs_no_resolver() {
        for (address, is_one) in [
            ("127.0.0.1:9001", true),
            ("[::1]:9001", true),
            ("localhost:9001", true),
            ("localhost:", false),
            ("host.example:9001", false),
        ] {
            assert_eq!(ApiClient::new().set_address(address).is_ok(), is_one, "{address}");
        }
    }
}
