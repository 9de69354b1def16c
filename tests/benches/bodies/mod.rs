//! The bytes that both benchmarks read, and how the scanner and serde_json read them.

use std::borrow::Cow;
use std::fs;
use std::hint::black_box;

use oom_witness_core::Scanner;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event whose record is text, as a program would read it that holds the whole body.
#[derive(Deserialize)]
struct TextEvent<'a> {
    time: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    record: Cow<'a, str>,
}

/// An event whose record is an object, as a program would read it that holds the whole body.
#[derive(Deserialize)]
struct ObjectEvent<'a> {
    time: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    record: LogObject<'a>,
}

/// The members of a record in JSON log format that detection needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogObject<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Option<&'a str>,
    #[serde(borrow)]
    error_type: Option<&'a str>,
    #[serde(borrow)]
    logger: Option<&'a str>,
}

#[derive(Deserialize)]
struct BodyPart<'a> {
    #[serde(borrow, default)]
    post: Vec<&'a RawValue>,
}

/// A body with every line of the labelled corpus that a function printed as text. The lines are
/// repeated until they fill it.
#[allow(dead_code, reason = "one of the two has no use for it")]
pub(crate) fn recorded_lines() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let mut events = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for step in text.lines().filter_map(|line| serde_json::from_str::<BodyPart<'_>>(line).ok())
        {
            let is_text = |event: &str| serde_json::from_str::<TextEvent<'_>>(event).is_ok();
            let lines = step.post.iter().map(|event| event.get()).filter(|event| is_text(event));
            events.extend(lines.map(str::to_owned));
        }
    }
    let size: usize = events.iter().map(String::len).sum();
    let times = BODY_SIZE.div_ceil(size);
    format!("[{}]", vec![events.join(","); times].join(","))
}

/// A body of lines without evidence, each of about `size` bytes.
pub(crate) fn plain_lines(size: usize) -> String {
    let words = "2026-11-22T07:34:59.678Z\\t3c1a12d9-9e13-4869-b291-e5945001f202\\tINFO\\tuser 17 asked \
                 for the key of another memory, and was told why not; the queue took 12 ms ";
    let line: String = words.chars().cycle().take(size).collect();
    let line = line.trim_end_matches('\\');
    let event =
        format!(r#"{{"time":"2026-11-22T07:34:59.678Z","type":"function","record":"{line}\n"}}"#);
    format!("[{}]", vec![event; BODY_SIZE / size.max(100)].join(","))
}

/// A body of records in JSON log format without evidence, as Python's client writes them. Each
/// message has about `size` bytes.
pub(crate) fn json_lines(size: usize) -> String {
    let words = "user 17 asked for the key of another memory, and was told \\\"why not\\\"; the queue took 12 ms ";
    let message: String = words.chars().cycle().take(size).collect();
    let message = message.trim_end_matches('\\');
    let event = format!(
        r#"{{"time":"2026-11-22T07:34:59.678Z","type":"function","record":{{"timestamp":"2026-11-22T07:34:59Z","level":"INFO","message":"{message}","logger":"root","requestId":"3c1a12d9-9e13-4869-b291-e5945001f202"}}}}"#
    );
    format!("[{}]", vec![event; BODY_SIZE / size.max(100)].join(","))
}

/// Scans a body in pieces of this many bytes.
pub(crate) fn scan(body: &str, piece: usize) {
    let mut scanner = Scanner::new();
    for piece in body.as_bytes().chunks(piece) {
        scanner.feed(black_box(piece), &mut |event| {
            black_box(event);
        });
    }
    scanner.end_body(&mut |_| {});
}

/// Reads a body of lines with serde_json into borrowed structs.
pub(crate) fn parse(body: &str) {
    let events: Vec<TextEvent<'_>> = serde_json::from_str(black_box(body)).unwrap();
    for event in &events {
        black_box((event.time, event.kind, &event.record));
    }
}

/// Reads a body of records in JSON log format with serde_json into borrowed structs.
pub(crate) fn parse_objects(body: &str) {
    let events: Vec<ObjectEvent<'_>> = serde_json::from_str(black_box(body)).unwrap();
    for event in &events {
        let LogObject { message, request_id, error_type, logger } = &event.record;
        black_box((event.time, event.kind, message, request_id, error_type, logger));
    }
}

/// How many bytes the agent reads from a connection at once.
pub(crate) const PIECE: usize = 4096;

/// The size of Lambda's smallest buffer.
const BODY_SIZE: usize = 256 * 1024;
