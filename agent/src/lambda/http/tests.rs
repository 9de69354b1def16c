//! Framing: the same bytes give the same messages, however they are cut into pieces.

use super::{HEAD_SIZE, Head, MessagePart, MessageReader, Side};

/// The messages of a connection that brings `pieces`, one line each.
fn read(side: Side, pieces: &[&[u8]]) -> String {
    let mut reader = MessageReader::new(side);
    let mut text = String::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.next_part(&mut input) {
                MessagePart::Head(head) => {
                    let Head { status, is_post, expects_continue, keep_alive } = head;
                    let kind = if is_post { "post" } else { "other" };
                    if status > 0 {
                        text.push_str(&format!("{status}"));
                    } else {
                        text.push_str(kind);
                    }
                    text.push_str(if expects_continue { " expect" } else { "" });
                    text.push_str(if keep_alive { " [" } else { " close [" });
                }
                MessagePart::Body(body) => text.push_str(std::str::from_utf8(body).unwrap()),
                MessagePart::End => text.push_str("]\n"),
                MessagePart::Broken => {
                    text.push_str("broken");
                    return text;
                }
                MessagePart::NeedMore => break,
            }
        }
        assert!(input.is_empty(), "NeedMore although bytes are left");
    }
    text
}

/// Expects the same messages from the whole, from single bytes, and from a cut at every byte.
#[track_caller]
fn check(side: Side, bytes: &str, expected: &str) {
    let bytes = bytes.as_bytes();
    assert_eq!(read(side, &[bytes]), expected, "whole");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(side, &single), expected, "byte by byte");
    for at in 0..bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(read(side, &[head, tail]), expected, "cut at {at}");
    }
}

#[test]
fn content_length_is_read_in_any_case() {
    check(Side::Server, "POST / HTTP/1.1\r\ncOnTeNt-LeNgTh: 4\r\n\r\nbody", "post [body]\n");
}

#[test]
fn two_requests_in_one_piece_are_two_messages() {
    check(
        Side::Server,
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]\
         POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "post [[]]\npost [abc]\n",
    );
}

#[test]
fn chunk_extensions_and_trailers_are_skipped() {
    check(
        Side::Server,
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
         3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nA: b\r\n\r\n\
         GET / HTTP/1.1\r\n\r\n",
        "post [abc0123456789]\nother []\n",
    );
}

#[test]
fn chunked_wins_over_content_length() {
    check(
        Side::Server,
        "POST / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\na\r\n0\r\n\r\n",
        "post [a]\n",
    );
}

#[test]
fn expect_and_connection_headers_are_read() {
    check(
        Side::Server,
        "POST / HTTP/1.1\r\nExpect: 100-Continue\r\nConnection: TE, Close\r\n\
         Content-Length: 1\r\n\r\nx",
        "post expect close [x]\n",
    );
    check(Side::Server, "POST / HTTP/1.0\r\n\r\n", "post close []\n");
    check(Side::Server, "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "post []\n");
}

#[test]
fn bad_lengths_cannot_be_framed() {
    for length in ["-1", "+4", "4x", "99999999999999999999", "", "1, 2"] {
        let request = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(read(Side::Server, &[request.as_bytes()]), "broken", "{length:?}");
    }
    check(
        Side::Server,
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "broken",
    );
    check(Side::Server, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "broken");
}

#[test]
fn bad_chunk_sizes_cannot_be_framed() {
    for size in ["\r\n", "g\r\n", "-1\r\n", "1111111111111111\r\n", "3\r\nabcX"] {
        let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{size}");
        let text = read(Side::Server, &[request.as_bytes()]);
        assert!(text.ends_with("broken"), "{size:?}: {text}");
    }
}

#[test]
fn a_head_that_never_ends_cannot_be_framed() {
    let line = "X: 0123456789\r\n".repeat(HEAD_SIZE);
    assert_eq!(read(Side::Server, &[b"POST / HTTP/1.1\r\n", line.as_bytes()]), "broken");
    assert_eq!(read(Side::Server, &[b"\x16\x03\x01\x02\x00\x01"]), "broken");
}

#[test]
fn responses_are_framed_by_status_length_or_close() {
    check(
        Side::Client,
        "HTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
         HTTP/1.1 204 No\r\n\r\n",
        "200 [ok]\n204 []\n",
    );
    check(Side::Client, "HTTP/1.1 500 Oops\r\n\r\nuntil the end", "500 close [until the end");
}

#[test]
fn headers_can_be_asked_for_after_the_head() {
    let mut reader = MessageReader::new(Side::Client);
    let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nlambda-extension-identifier: abc\r\n\r\nrest";
    assert!(matches!(reader.next_part(&mut input), MessagePart::Head(_)));
    assert_eq!(reader.header::<8>("Lambda-Extension-Identifier"), "abc");
    assert_eq!(reader.header::<2>("Lambda-Extension-Identifier"), "");
    assert_eq!(reader.header::<8>("Other"), "");
    assert_eq!(input, b"rest");
}

#[test]
fn the_target_can_be_asked_for_after_the_head() {
    for (line, target) in [
        ("POST / HTTP/1.1", "/"),
        ("\r\nPOST /a/b?c HTTP/1.1", "/a/b?c"),
        ("POST http://sandbox.localdomain:6161/a HTTP/1.0", "http://sandbox.localdomain:6161/a"),
    ] {
        let mut reader = MessageReader::new(Side::Server);
        let head = format!("{line}\r\nContent-Length: 1\r\n\r\nx");
        let mut input = head.as_bytes();
        assert!(matches!(reader.next_part(&mut input), MessagePart::Head(_)));
        assert_eq!(reader.target(), target.as_bytes());
        assert!(matches!(reader.next_part(&mut input), MessagePart::Body(_)));
        assert_eq!(reader.target(), target.as_bytes());
    }
}
