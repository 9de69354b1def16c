//! The bytes that both benchmarks read, and how serde_json reads them.

use std::borrow::Cow;
use std::fs;
use std::hint::black_box;

use oom_witness_core::Scanner;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A function record that is text, as an owner of the whole body would read it.
#[derive(Deserialize)]
struct Element<'a> {
    time: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    record: Cow<'a, str>,
}

/// A function record that is an object, as an owner of the whole body would read it.
#[derive(Deserialize)]
struct ObjectElement<'a> {
    time: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    record: LogObject<'a>,
}

/// The members of a record in JSON log format that the detection needs.
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

/// Every line of the labelled corpus that a function printed as text, in one body, as often as it
/// takes to fill it.
#[allow(dead_code, reason = "one of the two has no use for it")]
pub(crate) fn recorded_lines() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let mut elements = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for step in text.lines().filter_map(|line| serde_json::from_str::<BodyPart<'_>>(line).ok())
        {
            let is_text = |event: &str| serde_json::from_str::<Element<'_>>(event).is_ok();
            let lines = step.post.iter().map(|event| event.get()).filter(|event| is_text(event));
            elements.extend(lines.map(str::to_owned));
        }
    }
    let size: usize = elements.iter().map(String::len).sum();
    let times = BODY_SIZE.div_ceil(size);
    format!("[{}]", vec![elements.join(","); times].join(","))
}

/// A body of lines without evidence, each of about `size` bytes.
pub(crate) fn plain_lines(size: usize) -> String {
    let words = "2026-11-22T07:34:59.678Z\\t3c1a12d9-9e13-4869-b291-e5945001f202\\tINFO\\tuser 17 asked \
                 for the key of another memory, and was told why not; the queue took 12 ms ";
    let line: String = words.chars().cycle().take(size).collect();
    let line = line.trim_end_matches('\\');
    let element =
        format!(r#"{{"time":"2026-11-22T07:34:59.678Z","type":"function","record":"{line}\n"}}"#);
    format!("[{}]", vec![element; BODY_SIZE / size.max(100)].join(","))
}

/// A body of records in JSON log format without evidence, as Python's client writes them. Each
/// message has about `size` bytes.
pub(crate) fn json_lines(size: usize) -> String {
    let words = "user 17 asked for the key of another memory, and was told \\\"why not\\\"; the queue took 12 ms ";
    let message: String = words.chars().cycle().take(size).collect();
    let message = message.trim_end_matches('\\');
    let element = format!(
        r#"{{"time":"2026-11-22T07:34:59.678Z","type":"function","record":{{"timestamp":"2026-11-22T07:34:59Z","level":"INFO","message":"{message}","logger":"root","requestId":"3c1a12d9-9e13-4869-b291-e5945001f202"}}}}"#
    );
    format!("[{}]", vec![element; BODY_SIZE / size.max(100)].join(","))
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

/// Reads a body of function records into borrowed structs.
pub(crate) fn parse(body: &str) {
    let elements: Vec<Element<'_>> = serde_json::from_str(black_box(body)).unwrap();
    for element in &elements {
        black_box((element.time, element.kind, &element.record));
    }
}

/// Reads a body of records in JSON log format into borrowed structs.
pub(crate) fn parse_objects(body: &str) {
    let elements: Vec<ObjectElement<'_>> = serde_json::from_str(black_box(body)).unwrap();
    for element in &elements {
        let LogObject { message, request_id, error_type, logger } = &element.record;
        black_box((element.time, element.kind, message, request_id, error_type, logger));
    }
}

/// What the agent reads from a connection at once.
pub(crate) const PIECE: usize = 4096;

/// Lambda's smallest buffer.
const BODY_SIZE: usize = 256 * 1024;
