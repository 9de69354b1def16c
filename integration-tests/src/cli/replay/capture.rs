//! A telemetry capture: a recording of ours, or events that somebody else's extension has kept.
//!
//! In: the text of a file. Out: what the extension received, in order, and the file's header. A
//! file has one of three shapes: a recording (see [`crate::recording`]), one JSON array of events,
//! or a line for each event or array of events.
//!
//! ```json
//! {"time":"2026-11-22T07:34:59.808Z","type":"platform.report","record":{"requestId":"..."}}
//! ```

use std::iter;

use serde_json::{Deserializer, Error, Value};

use crate::recording::{RecordingHeader, RecordingLine};

/// What to replay.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// In order. Only a recording has other lines than posts.
    pub(super) lines: Vec<RecordingLine>,
    /// The first line of a recording.
    pub(super) header: RecordingHeader,
}

impl Capture {
    /// Reads a file. The error is one line for a person.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut values = values(text);
        let (line, first) = values.next().ok_or("nothing is in it")??;
        if first["attempts"].is_array() {
            return Self::recording(first, values);
        }
        let mut bodies = Vec::new();
        let mut events = Vec::new();
        for value in [Ok((line, first))].into_iter().chain(values) {
            match value? {
                (line, Value::Array(whole)) => {
                    bodies.extend(take(&mut events));
                    bodies.push(body(whole, line)?);
                }
                (line, event) => events.push(checked(event, line)?),
            }
        }
        bodies.extend(take(&mut events));
        let lines = bodies.into_iter().map(RecordingLine::Post).collect();
        let capture = Self { lines, ..Self::default() };
        if capture.events().next().is_none() {
            return Err("no telemetry event is in it".into());
        }
        Ok(capture)
    }

    fn recording(
        first: Value,
        lines: impl Iterator<Item = Result<(usize, Value), String>>,
    ) -> Result<Self, String> {
        let header = serde_json::from_value(first)
            .map_err(|error| format!("not the first line of a recording: {error}"))?;
        let line = |line: Result<(usize, Value), String>| {
            let (number, line) = line?;
            let wrong = || format!("line {number}: not a line of a recording");
            RecordingLine::parse(&line).ok_or_else(wrong)
        };
        Ok(Self { lines: lines.map(line).collect::<Result<_, _>>()?, header })
    }

    /// Every event in it, except in bodies with a cut record, which are not JSON.
    pub(super) fn events(&self) -> impl Iterator<Item = Value> {
        let events = |line: &RecordingLine| match line {
            RecordingLine::Post(body) => serde_json::from_str(body).unwrap_or_default(),
            _ => Vec::new(),
        };
        self.lines.iter().flat_map(events)
    }
}

/// Each JSON value of a file, with the line on which it ends.
fn values(text: &str) -> impl Iterator<Item = Result<(usize, Value), String>> {
    let mut values = Deserializer::from_str(text).into_iter();
    let (mut line, mut end) = (1, 0);
    iter::from_fn(move || {
        let value = values.next()?;
        line += text[end..values.byte_offset()].matches('\n').count();
        end = values.byte_offset();
        let wrong = |error: Error| format!("line {}: not JSON: {error}", error.line());
        Some(value.map(|value| (line, value)).map_err(wrong))
    })
}

fn body(events: Vec<Value>, line: usize) -> Result<String, String> {
    let events: Result<Vec<_>, _> = events.into_iter().map(|event| checked(event, line)).collect();
    events.map(|events| Value::from(events).to_string())
}

/// The events so far as one body.
fn take(events: &mut Vec<Value>) -> Option<String> {
    let events = std::mem::take(events);
    (!events.is_empty()).then(|| Value::from(events).to_string())
}

fn checked(event: Value, line: usize) -> Result<Value, String> {
    let is_event = event["type"].is_string() && event["time"].is_string();
    if is_event && event.get("record").is_some() {
        return Ok(event);
    }
    let text: String = event.to_string().chars().take(SHOWN).collect();
    Err(format!("line {line}: no telemetry event (time, type and record): {text}"))
}

/// As much of a wrong event as fits on a line.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    const EVENT: &str = r#"{"time":"T","type":"function","record":"a"}"#;

    fn posts(text: &str) -> Vec<RecordingLine> {
        Capture::read(text).expect("a capture").lines
    }

    #[test]
    fn an_array_events_a_line_and_arrays_a_line_are_read() {
        let one = RecordingLine::Post(format!("[{EVENT}]"));
        let two = RecordingLine::Post(format!("[{EVENT},{EVENT}]"));
        assert_eq!(posts(&format!("[\n{EVENT},\n{EVENT}]\n")), from_ref(&two));
        assert_eq!(posts(&format!("{EVENT}\n\n{EVENT}\n")), from_ref(&two));
        assert_eq!(posts(&format!("[{EVENT}]\n[{EVENT},{EVENT}]\n")), [one.clone(), two]);
        assert_eq!(posts(&format!("{EVENT}\n[{EVENT}]\n{EVENT}")), [one.clone(), one.clone(), one]);
    }

    #[test]
    fn a_recording_has_more_than_posts() {
        let text = format!(
            "{}\n{}\n{{\"post\":[{EVENT}]}}\n{}",
            r#"{"memory_mb":192,"variables":[["A","b"]],"attempts":[{"request_id":"r"}]}"#,
            r#"{"invoke":"r"}"#,
            r#"{"restart":true}"#,
        );
        let Capture { header, lines } = Capture::read(&text).expect("a recording");
        assert_eq!((header.memory_mb, header.attempts.len()), (Some(192), 1));
        assert_eq!(header.variables, [("A".to_string(), "b".to_string())]);
        let post = RecordingLine::Post(format!("[{EVENT}]"));
        let expected = [RecordingLine::Invoke("r".into()), post, RecordingLine::Restart];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let many = format!("{EVENT}\n{{\"a\":1}}");
        for (text, why) in [
            ("", "nothing is in it"),
            ("[]", "no telemetry event is in it"),
            ("START RequestId: 1", "line 1: not JSON: expected value at line 1 column 1"),
            (many.as_str(), "line 2: no telemetry event (time, type and record): {\"a\":1}"),
            ("{\"attempts\":[]}\n{\"x\":1}", "line 2: not a line of a recording"),
            ("[\n{},\n{]", "line 3: not JSON: key must be a string at line 3 column 2"),
            ("[1]", "line 1: no telemetry event (time, type and record): 1"),
        ] {
            assert_eq!(Capture::read(text).expect_err(text), why);
        }
    }
}
