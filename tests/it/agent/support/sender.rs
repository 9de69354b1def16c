//! A connection to the agent's telemetry listener. The test chooses each byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(in crate::agent) struct Sender {
    stream: TcpStream,
    path: String,
}

impl Sender {
    /// A connection that posts to this path.
    pub(in crate::agent) fn connect(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        // A silent agent must fail the test, not hang it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("an option");
        Self { stream, path: path.to_owned() }
    }

    /// The same connection, to post to another path.
    pub(in crate::agent) fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Where it posts to.
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

    /// The same where the agent may have closed the connection already.
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
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Begins a request without an end and sends a byte of it every few milliseconds, until the
    /// agent closes the connection.
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

    /// Says that nothing more comes, and waits until the agent has closed its side.
    pub(in crate::agent) fn close(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.is_closed();
    }

    /// Waits until the agent closes the connection, without another word.
    pub(in crate::agent) fn is_closed(&mut self) {
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
