//! HTTP requests as text: those that the agent makes, and those that it gets.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

/// A request of the agent.
pub(in crate::agent) struct AgentRequest {
    /// `POST /2020-01-01/extension/register`
    pub(in crate::agent) line: String,
    pub(in crate::agent) body: String,
}

impl AgentRequest {
    /// Reads a request. `None`: the connection ended before it.
    pub(in crate::agent) fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(request) = Self::parse(&bytes) {
                return Some(request);
            }
            match stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the agent makes no further request: {error}"),
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
        let line = head.lines().next()?.strip_suffix(" HTTP/1.1").expect("a request").to_owned();
        (body.len() >= length).then(|| Self { line, body: body.to_owned() })
    }

    /// For a subscription: the port and the path to which the agent wants its telemetry.
    pub(in crate::agent) fn destination(&self) -> (u16, String) {
        let uri = self.body.split_once("sandbox.localdomain:").map(|(_, rest)| rest);
        let uri = uri.and_then(|rest| rest.split('"').next()).expect("a destination");
        let (port, path) = uri.split_once('/').unwrap_or((uri, ""));
        (port.parse().expect("a port"), format!("/{path}"))
    }
}

/// Reads the head of a request or of an answer.
pub(in crate::agent) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}
