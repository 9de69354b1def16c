//! A connection to the agent's telemetry listener. The test chooses each byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::requests::read_head;
use super::wait::PATIENCE;

pub(in crate::agent) struct TelemetrySender {
    stream: TcpStream,
    path: String,
}

impl TelemetrySender {
    /// Connects to the agent, to post to this path.
    pub(in crate::agent) fn connect(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        // A silent agent must fail the test, not hang it.
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Self { stream, path: path.to_owned() }
    }

    /// Posts to another path from now on.
    pub(in crate::agent) fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The path to which it posts.
    pub(in crate::agent) fn path(&self) -> &str {
        &self.path
    }

    /// The head of a request, as Lambda sends it.
    pub(in crate::agent) fn head(&self, length: usize) -> String {
        head(&self.path, length)
    }

    pub(in crate::agent) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("a write");
    }

    /// The same, but the agent may have closed the connection already.
    pub(in crate::agent) fn try_write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends one request with this body. Returns the status of its answer.
    pub(in crate::agent) fn post(&mut self, body: impl AsRef<[u8]>) -> u16 {
        self.write(self.head(body.as_ref().len()));
        self.write(body);
        self.status()
    }

    /// The status of the next answer. No answer has a body.
    pub(in crate::agent) fn status(&mut self) -> u16 {
        let head = read_head(&mut self.stream);
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Starts a request that never ends. Sends a byte of it every few milliseconds, until the agent
    /// closes the connection.
    pub(in crate::agent) fn trickle(mut self) -> JoinHandle<()> {
        self.stream.set_read_timeout(Some(Duration::from_millis(5))).expect("an option");
        self.try_write("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
        thread::spawn(move || {
            while self.stream.write_all(b" ").is_ok() {
                match self.stream.read(&mut [0]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => break,
                }
            }
        })
    }

    /// Closes its own side and waits until the agent has closed the other.
    pub(in crate::agent) fn close(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.assert_closed();
    }

    /// Waits until the agent closes the connection. It sends nothing more.
    pub(in crate::agent) fn assert_closed(&mut self) {
        match self.stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// The head of a request, as Lambda sends it.
pub(in crate::agent) fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: sandbox.localdomain:6161\r\n\
         User-Agent: Go-http-client/1.1\r\nContent-Length: {length}\r\n\
         Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
    )
}

/// Posts one body over any connection, to a path that any process may use. An error: the connection
/// broke, or the answer is not 200.
pub(in crate::agent) fn try_post(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    stream.write_all(format!("{}{body}", head("/", body.len())).as_bytes())?;
    let mut answer = [0; b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".len()];
    stream.read_exact(&mut answer)?;
    let is_taken = answer.starts_with(b"HTTP/1.1 200 OK");
    if is_taken { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Posts as Lambda does: again, over a new connection, until the agent answers 200.
pub(in crate::agent) fn post_until_taken(port: u16, body: &str) {
    let post = || try_post(&mut TcpStream::connect((Ipv4Addr::LOCALHOST, port))?, body);
    let taken = (0..10).map(|_| post()).find(Result::is_ok).unwrap_or_else(post);
    taken.expect("the agent takes telemetry");
}
