//! One kept connection to a telemetry listener.
//!
//! In: the body of a request. Out: the status of its answer. The headers are those that RIE
//! sends: Go's client, a length, and a `Sequence-Id` that is the hash of the body.

use std::io;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::subscription::Destination;

/// A connection. It opens at its first use, and again after it broke.
#[derive(Debug)]
pub(crate) struct TelemetryConnection {
    destination: Destination,
    stream: Option<TcpStream>,
}

impl TelemetryConnection {
    pub(crate) fn new(destination: Destination) -> Self {
        Self { destination, stream: None }
    }

    /// Sends one batch.
    pub(crate) async fn post(&mut self, body: &[u8]) -> io::Result<u16> {
        let reused = self.stream.is_some();
        let result = match self.attempt(body).await {
            // The listener may have closed a kept connection meanwhile.
            Err(_) if reused => self.attempt(body).await,
            result => result,
        };
        log::debug!("telemetry {} -> {result:?}", String::from_utf8_lossy(body));
        result
    }

    async fn attempt(&mut self, body: &[u8]) -> io::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.destination.address).await?,
        };
        let mut request = self.head(body).into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).await?;
        let (status, keep) = read_answer(&mut stream).await?;
        self.stream = keep.then_some(stream);
        Ok(status)
    }

    fn head(&self, body: &[u8]) -> String {
        let Destination { path, host, .. } = &self.destination;
        let sequence = STANDARD.encode(Sha256::digest(body));
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\n\
             Content-Length: {}\r\nContent-Type: application/json\r\nSequence-Id: {sequence}\r\n\
             Accept-Encoding: gzip\r\n\r\n",
            body.len()
        )
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The status, and whether the connection can be used again. It reads only bodies of a known length
/// to their end.
async fn read_answer(stream: &mut TcpStream) -> io::Result<(u16, bool)> {
    let mut buffer = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(&buffer).map_err(io::Error::other)?;
        let Some(status) = answer.code.filter(|_| parsed.is_complete()) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let header = |name: &str| {
            let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let close = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let length = header("content-length").and_then(|value| value.trim().parse::<usize>().ok());
        let end = parsed.unwrap() + length.unwrap_or(0);
        while buffer.len() < end {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok((status, false));
            }
        }
        return Ok((status, !close && (length.is_some() || status == 204)));
    }
}
