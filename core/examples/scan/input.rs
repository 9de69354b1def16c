//! The messages in a file, whatever wrote it.

use std::io;

use oom_witness_core::parse_rfc3339_ms;
use serde_json::Value;

/// One message of a log stream.
pub(super) struct Message {
    /// Milliseconds since the epoch, if the file has the time.
    pub(super) time_ms: Option<u64>,
    /// The log stream. Empty if the file does not name it.
    pub(super) stream: String,
    /// Without the line break at its end.
    pub(super) text: String,
}

/// All messages, in the order of the file.
///
/// # Errors
/// When the file is not text, or is JSON of another kind.
pub(super) fn messages(bytes: &[u8]) -> io::Result<Vec<Message>> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(invalid("it is compressed: unpack it with gunzip"));
    }
    let text = str::from_utf8(bytes).map_err(|error| invalid(&format!("no text: {error}")))?;
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(document)) if document.contains_key("events") => {
            let events = document["events"].as_array();
            of_events(events.ok_or_else(|| invalid("`events` is no array"))?)
        }
        Ok(Value::Array(events)) => of_events(&events),
        _ => match events_of_lines(text) {
            Some(events) => of_events(&events),
            None => Ok(of_lines(text)),
        },
    }
}

/// One event of CloudWatch Logs in each line, as `jq -c '.events[]'` writes them. A function's own
/// records have no `ingestionTime`.
fn events_of_lines(text: &str) -> Option<Vec<Value>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let events = lines.map(|line| serde_json::from_str::<Value>(line).ok());
    let is_event = |event: &Value| event["ingestionTime"].is_u64() && event["message"].is_string();
    events.map(|event| event.filter(is_event)).collect()
}

/// The events of `filter-log-events` and `get-log-events`, also if `--query events` took them out.
fn of_events(events: &[Value]) -> io::Result<Vec<Message>> {
    let message = |event: &Value| {
        let text =
            event["message"].as_str().ok_or_else(|| invalid("an event without `message`"))?;
        Ok(Message {
            time_ms: event["timestamp"].as_u64(),
            stream: event["logStreamName"].as_str().unwrap_or_default().to_string(),
            text: text.trim_end().to_string(),
        })
    };
    events.iter().map(message).collect()
}

/// Lines. If the first one begins with a time, `aws logs tail` or an export to S3 wrote them: each
/// message begins with its time, and perhaps its log stream, and a line without a time continues
/// the message before it. Otherwise each line is a message.
fn of_lines(text: &str) -> Vec<Message> {
    let has_times = text.lines().find_map(|line| (!line.is_empty()).then(|| split_time(line)));
    let has_times = has_times.flatten().is_some();
    let mut messages: Vec<Message> = Vec::new();
    for line in text.lines() {
        let timed = has_times.then(|| split_time(line)).flatten();
        if let (None, true, Some(last)) = (timed, has_times, messages.last_mut()) {
            last.text.push('\n');
            last.text.push_str(line);
            continue;
        }
        let (time_ms, rest) = timed.map_or((None, line), |(time_ms, rest)| (Some(time_ms), rest));
        // `2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef`
        let is_stream = |word: &str| time_ms.is_some() && word.contains("/[") && word.contains(']');
        let (stream, text) = match rest.split_once(' ') {
            Some((word, text)) if is_stream(word) => (word, text),
            _ => ("", rest),
        };
        let (stream, text) = (stream.to_string(), text.to_string());
        messages.push(Message { time_ms, stream, text });
    }
    messages
}

/// The time at the start of a line, and what follows it.
fn split_time(line: &str) -> Option<(u64, &str)> {
    let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some((time_ms(time)?, rest))
}

/// A time in RFC 3339, or without its offset (`aws logs tail --format short`). It stands alone.
fn time_ms(word: &str) -> Option<u64> {
    let parse = |text: &str| parse_rfc3339_ms(text.as_bytes());
    parse(word).or_else(|| parse(&format!("{word}Z")))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
