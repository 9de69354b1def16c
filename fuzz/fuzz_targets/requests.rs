//! Any bytes on a telemetry connection, in any pieces, give the messages that a naive reading
//! finds. The listener answers each, and gives its events.
//!
//! The first byte of the input chooses the pieces, the rest is what a sender sends.
#![no_main]

include!("../agent.rs");

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use lambda::http::{HEAD_SIZE, Head, MessagePart, Reader, Side};
use lambda::telemetry_api::Telemetry;
use libfuzzer_sys::fuzz_target;
use oom_witness_core::{Event, Scanner};
use oom_witness_tests::tell;
use sys::PollEntry;

/// Longer inputs add nothing but time, and might not fit into a socket's buffer.
const INPUT_MAX: usize = 16_000;

/// How often one side waits for the other, and how long each time, before it counts as stuck.
const WAITS_MAX: usize = 500;
const WAIT_MS: i32 = 10;

/// One request as it was read.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    head: Head,
    body: Vec<u8>,
    is_whole: bool,
}

/// The result of a connection.
#[derive(Clone, Debug, PartialEq)]
struct Connection {
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
    compare(&whole, &naive(bytes));
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

/// What the agent's reader makes of a connection.
fn read(pieces: &[&[u8]]) -> Connection {
    let mut reader = Reader::new(Side::Server);
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
                MessagePart::Broken => return Connection { messages, is_broken: true },
                MessagePart::NeedMore => break,
            }
        }
        assert!(input.is_empty(), "more is needed although bytes are left");
    }
    assert!(!reader.is_complete_at_close(), "no request ends with its connection");
    Connection { messages, is_broken: false }
}

/// What a naive reading finds.
struct Naive {
    messages: Vec<Message>,
    ending: Ending,
}

enum Ending {
    /// Nothing more was sent, or too little of a head.
    Open,
    /// It cannot be framed.
    Broken,
    /// Written in a way that this reading does not know.
    Unknown,
}

fn compare(read: &Connection, naive: &Naive) {
    let Naive { messages, ending } = naive;
    let known = messages.len().min(read.messages.len());
    assert_eq!(&read.messages[..known], messages, "naive reading");
    match ending {
        Ending::Open => {
            assert_eq!((read.messages.len(), read.is_broken), (known, false), "more than was sent");
        }
        Ending::Broken => assert_eq!((read.messages.len(), read.is_broken), (known, true)),
        Ending::Unknown => {}
    }
}

/// Reads whole texts, and only what is written in the plainest way.
fn naive(mut bytes: &[u8]) -> Naive {
    let mut messages = Vec::new();
    let ending = loop {
        if bytes.is_empty() {
            break Ending::Open;
        }
        let Some(length) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            break Ending::Unknown;
        };
        let (head, rest) = bytes.split_at(length + 4);
        if head.len() > HEAD_SIZE {
            break Ending::Broken;
        }
        let text = std::str::from_utf8(&head[..length]).unwrap_or_default();
        let Some((head, framing)) = naive_head(text) else { break Ending::Unknown };
        bytes = rest;
        let mut message = Message { head, body: Vec::new(), is_whole: false };
        match framing {
            Framing::None => break Ending::Broken,
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
                message.is_whole = framing == Framing::Length(length as u64);
                message.body = bytes[..length].to_vec();
                bytes = &bytes[length..];
            }
            Framing::Chunked => {
                let Some((body, rest)) = naive_chunks(bytes) else { break Ending::Unknown };
                message.body = body;
                message.is_whole = true;
                bytes = rest;
            }
        }
        messages.push(message);
    };
    Naive { messages, ending }
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length(u64),
    Chunked,
    /// A message that the agent does not take.
    None,
}

fn naive_head(text: &str) -> Option<(Head, Framing)> {
    let mut lines = text.split("\r\n");
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|char| char.is_ascii_alphanumeric() || char == '-')
    };
    let [method, target, version] = lines.next()?.split(' ').collect::<Vec<_>>().try_into().ok()?;
    if !is_word(method) || !target.starts_with('/') || !is_word(&target.replace('/', "a")) {
        return None;
    }
    let is_old = match version {
        "HTTP/1.0" => true,
        "HTTP/1.1" => false,
        _ => return None,
    };
    let mut fields: Vec<(String, &str)> = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !is_word(name) || !value.chars().all(|char| (' '..='~').contains(&char)) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches(' ')));
    }
    if fields.len() > 32 {
        return None;
    }
    let all = |name: &str| -> Vec<&str> {
        fields.iter().filter(|field| field.0 == name).map(|field| field.1).collect()
    };
    let says = |name: &str, word: &str| {
        all(name).join(",").split(',').any(|part| part.trim_matches(' ').eq_ignore_ascii_case(word))
    };
    let framing = match (all("transfer-encoding").last(), all("content-length").as_slice()) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (Some(_), _) => Framing::None,
        (None, []) => Framing::Length(0),
        (None, lengths) => {
            let number = |text: &&str| {
                let is_number = text.chars().all(|char| char.is_ascii_digit());
                text.parse::<u64>().ok().filter(|_| is_number)
            };
            let numbers: Option<Vec<u64>> = lengths.iter().map(number).collect();
            match numbers {
                Some(all) if all.iter().all(|one| *one == all[0]) => Framing::Length(all[0]),
                _ => Framing::None,
            }
        }
    };
    let head = Head {
        status: 0,
        is_post: method == "POST",
        expects_continue: says("expect", "100-continue"),
        keep_alive: if is_old {
            says("connection", "keep-alive")
        } else {
            !says("connection", "close")
        },
    };
    Some((head, framing))
}

/// The body of a chunked message that is whole, and what follows it.
fn naive_chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let (line, rest) = bytes.split_at(end);
        *bytes = &rest[2..];
        std::str::from_utf8(line).ok().filter(|line| line.chars().all(|char| char >= ' '))
    }
    let mut body = Vec::new();
    loop {
        let size = line(&mut bytes)?;
        let size = size.split_once(';').map_or(size, |(size, _)| size);
        if size.len() > 15 || !size.chars().all(|char| char.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        let (chunk, rest) = bytes.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
    while !line(&mut bytes)?.is_empty() {}
    Some((body, bytes))
}

/// The listener itself, on a loopback port: the answers and the events that the messages must
/// bring.
fn listen(pieces: &[&[u8]], connection: &Connection) {
    let mut events = Vec::new();
    let mut on_event = |event: &Event| events.push(tell(event));
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
    // What was sent last may reach the listener a moment later.
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
    assert!(telemetry.sockets().flatten().next().is_none(), "still open");
    assert!(!telemetry.is_receiving());
    assert_eq!(events, expected_events(connection));
}

/// Waits a moment for something to read.
fn wait(sockets: &[Option<std::os::fd::BorrowedFd<'_>>]) {
    let mut entries: Vec<PollEntry> =
        sockets.iter().map(|socket| socket.map_or(PollEntry::NONE, PollEntry::readable)).collect();
    let _ = sys::poll(&mut entries, WAIT_MS);
}

/// Reads what there is; true at the end.
fn receive(sender: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    match sender.read_to_end(answer) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// What the listener writes, and whether it closes the connection then.
fn answers(connection: &Connection) -> (String, bool) {
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

/// What the scanner makes of the bodies.
fn expected_events(connection: &Connection) -> Vec<String> {
    let mut events = Vec::new();
    let mut on_event = |event: &Event| events.push(tell(event));
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
