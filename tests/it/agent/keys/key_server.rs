//! A server in place of AWS's services, which can do anything.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Reply {
    /// Sends this.
    Bytes(String),
    /// Closes the connection.
    Close,
    /// Sends nothing, and keeps the connection.
    Silence,
    /// Sends the head of an answer, and its body one byte at a time.
    Trickle,
    /// Sends the head of an answer, and its body after this time.
    Late(Duration, String),
}

impl Reply {
    pub(super) fn ok(body: &str) -> Self {
        Self::status(200, body)
    }

    pub(super) fn status(status: u16, body: &str) -> Self {
        let length = body.len();
        let elsewhere = "Location: http://127.0.0.1:1/";
        Self::Bytes(format!(
            "HTTP/1.1 {status} X\r\n{elsewhere}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }
}

/// The server, and the requests that it got, with their bodies.
pub(super) struct KeyServer {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl KeyServer {
    /// Starts a server that answers each request as `reply` says. Its threads end with the program.
    pub(super) fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_after_silences(0, reply)
    }

    /// The same, but it never answers the first requests.
    pub(super) fn start_after_silences(
        silences: usize,
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, reply) = (Arc::clone(&requests), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let (kept, reply) = (Arc::clone(&kept), Arc::clone(&reply));
                thread::spawn(move || {
                    let Some(request) = read_request(&mut stream) else { return };
                    let count = {
                        let mut kept = kept.lock().expect("the requests");
                        kept.push(request.clone());
                        kept.len()
                    };
                    let reply = if count > silences { reply(&request) } else { Reply::Silence };
                    answer(&mut stream, &reply);
                });
            }
        });
        Self { url, requests }
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the requests").clone()
    }

    /// The call that a request makes.
    pub(super) fn target(request: &str) -> &str {
        let target = request.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
        target.expect("a call")
    }
}

fn answer(stream: &mut TcpStream, reply: &Reply) {
    match reply {
        Reply::Bytes(bytes) => {
            // The child may close the connection before the end.
            let _ = stream.write_all(bytes.as_bytes());
        }
        Reply::Close => {}
        Reply::Silence => {
            // Until the child gives up.
            let _ = stream.read(&mut [0]);
        }
        Reply::Late(time, body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes());
            thread::sleep(*time);
            let _ = stream.write_all(body.as_bytes());
        }
        Reply::Trickle => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            while stream.write_all(b"{").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A whole request. `None` if the connection ends before it.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
}
