//! A blocking HTTP/1.1 client for the hidden subcommands: one connection, bodies by length.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

/// One kept connection.
pub(crate) struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

/// An answer.
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// To the address in `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn connect() -> io::Result<Self> {
        Self::to(std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?)
    }

    pub(crate) fn to(host: String) -> io::Result<Self> {
        let stream = BufReader::new(TcpStream::connect(&host)?);
        Ok(Self { host, stream })
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<HttpAnswer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let stream = self.stream.get_mut();
        // One write, as a second one would wait for the peer's delayed acknowledgment.
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let (first, headers, body) = read_message(&mut self.stream)?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status line"))?;
        Ok(HttpAnswer { status, headers, body })
    }
}

impl HttpAnswer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// First line, headers and body of a request or an answer.
#[allow(clippy::type_complexity)]
pub(super) fn read_message(
    stream: &mut impl BufRead,
) -> io::Result<(String, Vec<(String, String)>, Vec<u8>)> {
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        headers.push((name.to_string(), value.trim().to_string()));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((first.trim_end().to_string(), headers, body))
}
