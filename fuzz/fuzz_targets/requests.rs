//! Telemetry requests: any bytes on a connection, in any pieces, give the messages that a naive
//! parser finds. The listener answers each, and gives its events.
//!
//! The first byte of the input chooses the pieces, the rest is what a sender sends.
#![no_main]

#[path = "support/naive_http.rs"]
mod naive_http;

include!("../agent.rs");

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use lambda::http::{Head, MessagePart, MessageReader, Side};
use lambda::telemetry_api::Telemetry;
use libfuzzer_sys::fuzz_target;
use naive_http::{NaiveConnection, NaiveEnd};
use oom_witness_core::{Event, Scanner};
use oom_witness_tests::event_text;
use sys::PollEntry;

/// Longer inputs only take longer, and might not fit into a socket's buffer.
const INPUT_MAX: usize = 16_000;

/// How often one side waits for the other, and how long each time, before it counts as stuck.
const WAITS_MAX: usize = 500;
const WAIT_MS: i32 = 10;

/// One request as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

/// What was read from a connection.
#[derive(Clone, Debug, PartialEq)]
struct ParsedConnection {
    messages: Vec<Message>,
    is_broken: bool,
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = data.split_first() else { return };
    if bytes.len() > INPUT_MAX {
        return;
    }
    let whole = read(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single), whole, "byte by byte");
    let pieces = pieces(bytes, *seed);
    assert_eq!(read(&pieces), whole, "in pieces");
    compare(&whole, &NaiveConnection::parse(bytes));
    listen(&pieces, &whole);
});

/// Pieces of sizes that `seed` chooses.
fn pieces(mut bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut size = usize::from(seed);
    while !bytes.is_empty() {
        size = (size * 31 + 7) % (1 + usize::from(seed) * 4);
        let (piece, rest) = bytes.split_at(size.clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Reads a connection with the agent's reader.
fn read(pieces: &[&[u8]]) -> ParsedConnection {
    let mut reader = MessageReader::new(Side::Server);
    let mut messages: Vec<Message> = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            let before = input.len();
            match reader.next_part(&mut input) {
                MessagePart::Head(head) => {
                    messages.push(Message { head, body: Vec::new(), is_whole: false });
                }
                MessagePart::Body(bytes) => {
                    assert!(bytes.len() <= before - input.len(), "more than was sent");
                    messages.last_mut().expect("a head").body.extend_from_slice(bytes);
                }
                MessagePart::End => messages.last_mut().expect("a head").is_whole = true,
                MessagePart::Broken => return ParsedConnection { messages, is_broken: true },
                MessagePart::NeedMore => break,
            }
        }
        assert!(input.is_empty(), "the reader needs more although bytes are left");
    }
    assert!(!reader.is_complete_at_close(), "a request ends with its connection");
    ParsedConnection { messages, is_broken: false }
}

fn compare(read: &ParsedConnection, naive: &NaiveConnection) {
    let NaiveConnection { messages, end } = naive;
    let known = messages.len().min(read.messages.len());
    assert_eq!(&read.messages[..known], messages, "the naive parser finds other messages");
    match end {
        NaiveEnd::Open => {
            assert_eq!((read.messages.len(), read.is_broken), (known, false), "more than was sent");
        }
        NaiveEnd::Broken => assert_eq!((read.messages.len(), read.is_broken), (known, true)),
        NaiveEnd::Unknown => {}
    }
}

/// Sends the pieces to the listener on a loopback port. It must answer the messages and give their
/// events.
fn listen(pieces: &[&[u8]], connection: &ParsedConnection) {
    let mut events = Vec::new();
    let mut on_event = |event: &Event| events.push(event_text(event));
    let mut telemetry = Telemetry::new();
    let port = telemetry.listen(0).expect("a port");
    let mut sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a listener");
    sender.set_nodelay(true).expect("a socket");
    sender.set_nonblocking(true).expect("a socket");
    let options = socket2::SockRef::from(&sender);
    options.set_linger(Some(Duration::ZERO)).expect("a socket");
    wait(&[telemetry.listener()]);
    assert!(telemetry.accept(&mut on_event).has_heard);
    for piece in pieces {
        // The listener may have closed the connection.
        if sender.write_all(piece).is_err() {
            break;
        }
        while telemetry.read(0, &mut on_event).has_more {}
        telemetry.answer();
    }

    let (expected, closes) = answers(connection);
    let mut answer = Vec::new();
    let mut is_closed = false;
    // The last piece may reach the listener a moment later.
    for _ in 0..WAITS_MAX {
        is_closed |= receive(&mut sender, &mut answer);
        if is_closed || !closes && answer.len() >= expected.len() {
            break;
        }
        wait(&telemetry.sockets().collect::<Vec<_>>());
        telemetry.read(0, &mut on_event);
        telemetry.answer();
    }
    assert_eq!((String::from_utf8_lossy(&answer).as_ref(), is_closed), (&*expected, closes));
    drop(sender);
    for _ in 0..WAITS_MAX {
        if telemetry.sockets().flatten().next().is_none() {
            break;
        }
        wait(&telemetry.sockets().collect::<Vec<_>>());
        telemetry.read(0, &mut on_event);
        telemetry.answer();
    }
    assert!(
        telemetry.sockets().flatten().next().is_none(),
        "the listener keeps the connection open"
    );
    assert!(!telemetry.is_receiving());
    assert_eq!(events, expected_events(connection));
}

/// Waits a moment for something to read.
fn wait(sockets: &[Option<std::os::fd::BorrowedFd<'_>>]) {
    let mut entries: Vec<PollEntry> =
        sockets.iter().map(|socket| socket.map_or(PollEntry::NONE, PollEntry::readable)).collect();
    let _ = sys::poll(&mut entries, WAIT_MS);
}

/// Reads what there is. True if the connection has ended.
fn receive(sender: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    match sender.read_to_end(answer) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// What the listener must write, and whether it must then close the connection.
fn answers(connection: &ParsedConnection) -> (String, bool) {
    let mut text = String::new();
    for Message { head, is_whole, .. } in &connection.messages {
        if head.expects_continue {
            text += "HTTP/1.1 100 Continue\r\n\r\n";
        }
        if *is_whole {
            text += match (head.is_post, head.keep_alive) {
                (true, true) => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                (true, false) => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                }
                (false, _) => {
                    "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n"
                }
            };
            if !head.keep_alive {
                return (text, true);
            }
        }
    }
    (text, connection.is_broken)
}

/// The events that the scanner finds in the bodies.
fn expected_events(connection: &ParsedConnection) -> Vec<String> {
    let mut events = Vec::new();
    let mut on_event = |event: &Event| events.push(event_text(event));
    let mut scanner = Scanner::new();
    for Message { head, body, is_whole } in &connection.messages {
        if head.is_post {
            scanner.feed(body, &mut on_event);
            if *is_whole {
                scanner.end_body(&mut on_event);
            } else {
                scanner.abort_body(&mut on_event);
            }
        }
        if *is_whole && !head.keep_alive {
            break;
        }
    }
    events
}
