//! A naive parser of HTTP requests: the oracle of the fuzz target `requests`.

use crate::Message;
use crate::lambda::http::{HEAD_SIZE, Head};

/// What the naive parser finds on a connection.
pub(crate) struct NaiveConnection {
    pub(crate) messages: Vec<Message>,
    pub(crate) end: NaiveEnd,
}

/// Why it finds no more.
pub(crate) enum NaiveEnd {
    /// Nothing more was sent.
    Open,
    /// The next message has no framing that HTTP allows.
    Broken,
    /// The next message is written in a way that this parser does not know, or its head is not
    /// whole.
    Unknown,
}

impl NaiveConnection {
    /// Reads whole texts, and only what is written in the plainest way.
    pub(crate) fn parse(mut bytes: &[u8]) -> Self {
        let mut messages = Vec::new();
        let end = loop {
            if bytes.is_empty() {
                break NaiveEnd::Open;
            }
            let Some(length) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                break NaiveEnd::Unknown;
            };
            let (head, rest) = bytes.split_at(length + 4);
            if head.len() > HEAD_SIZE {
                break NaiveEnd::Broken;
            }
            let text = std::str::from_utf8(&head[..length]).unwrap_or_default();
            let Some((head, framing)) = parse_head(text) else { break NaiveEnd::Unknown };
            bytes = rest;
            let mut message = Message { head, body: Vec::new(), is_whole: false };
            match framing {
                NaiveFraming::None => break NaiveEnd::Broken,
                NaiveFraming::Length(length) => {
                    let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
                    message.is_whole = framing == NaiveFraming::Length(length as u64);
                    message.body = bytes[..length].to_vec();
                    bytes = &bytes[length..];
                }
                NaiveFraming::Chunked => {
                    let Some((body, rest)) = parse_chunks(bytes) else { break NaiveEnd::Unknown };
                    message.body = body;
                    message.is_whole = true;
                    bytes = rest;
                }
            }
            messages.push(message);
        };
        Self { messages, end }
    }
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq)]
enum NaiveFraming {
    Length(u64),
    Chunked,
    /// A message that the agent does not take.
    None,
}

fn parse_head(text: &str) -> Option<(Head, NaiveFraming)> {
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
    let has_word = |name: &str, word: &str| {
        all(name).join(",").split(',').any(|part| part.trim_matches(' ').eq_ignore_ascii_case(word))
    };
    let framing = match (all("transfer-encoding").last(), all("content-length").as_slice()) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => NaiveFraming::Chunked,
        (Some(_), _) => NaiveFraming::None,
        (None, []) => NaiveFraming::Length(0),
        (None, lengths) => {
            let number = |text: &&str| {
                let is_number = text.chars().all(|char| char.is_ascii_digit());
                text.parse::<u64>().ok().filter(|_| is_number)
            };
            let numbers: Option<Vec<u64>> = lengths.iter().map(number).collect();
            match numbers {
                Some(all) if all.iter().all(|one| *one == all[0]) => NaiveFraming::Length(all[0]),
                _ => NaiveFraming::None,
            }
        }
    };
    let head = Head {
        status: 0,
        is_post: method == "POST",
        expects_continue: has_word("expect", "100-continue"),
        keep_alive: if is_old {
            has_word("connection", "keep-alive")
        } else {
            !has_word("connection", "close")
        },
    };
    Some((head, framing))
}

/// The body of a chunked message that is whole, and what follows it.
fn parse_chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
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
