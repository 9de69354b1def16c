//! The messages in a file, whatever wrote it.

use std::io;

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
        Ok(document @ Value::Object(_)) if document.get("events").is_some() => {
            of_document(&document)
        }
        Ok(Value::Array(_)) => Err(invalid("a JSON array: `--query` takes the events out of it")),
        _ => Ok(of_lines(text)),
    }
}

/// What `filter-log-events` and `get-log-events` print.
fn of_document(document: &Value) -> io::Result<Vec<Message>> {
    let events = document["events"].as_array().ok_or_else(|| invalid("`events` is no array"))?;
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

/// A time in RFC 3339, with any fraction and any offset, or with none (`aws logs tail --format
/// short`). It must stand alone.
fn time_ms(word: &str) -> Option<u64> {
    let (date, time) = word.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let digits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
    let end = time.bytes().position(|byte| !digits(byte)).unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (clock.next()?.parse::<u64>().ok()?, clock.next()?.parse::<u64>().ok()?);
    let second = clock.next()?.parse::<f64>().ok()?;
    let is_date = (1970..10_000).contains(&year) && (1..13).contains(&month) && day < 32;
    if !is_date || hour > 23 || minute > 59 || !(0.0..61.0).contains(&second) {
        return None;
    }
    let offset_minutes = match zone {
        "" | "Z" => 0,
        _ => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    // Days from the civil calendar: <https://howardhinnant.github.io/date_algorithms.html>.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let minutes = (days.checked_sub(719_468)? * 24 + hour) * 60 + minute;
    let minutes = minutes.checked_add_signed(-offset_minutes)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 61,000")]
    let millis = (second * 1000.0).round() as u64;
    Some(minutes * 60_000 + millis)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
