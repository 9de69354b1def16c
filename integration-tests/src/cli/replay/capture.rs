//! A telemetry capture: a recording of ours, or events as somebody else has kept them.
//!
//! In: the text of a file. Out: what the extension was told, in order, and what the file says
//! beside it. Three shapes: a recording (see `record`), one JSON array of events, or a line for
//! each event or array of events.
//!
//! ```json
//! {"time":"2026-11-22T07:34:59.808Z","type":"platform.report","record":{"requestId":"..."}}
//! ```

use serde_json::Value;

/// What is to be told again.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// In order; only a recording has more than posts in it.
    pub(super) steps: Vec<Step>,
    /// `attempts` of a recording's first line.
    pub(super) attempts: Vec<Value>,
    /// Its memory size.
    pub(super) memory_mb: Option<u64>,
    /// What the extension was given beside Lambda's own variables.
    pub(super) variables: Vec<(String, String)>,
}

/// One thing to tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// The body of a telemetry request.
    Post(String),
    /// INVOKE, with its request id.
    Invoke(String),
    /// SHUTDOWN, with its reason.
    Shutdown(String),
    /// The kernel has killed so many processes by now.
    Kills(u64),
    /// A new process.
    Restart,
    /// A new environment.
    Replaced,
}

impl Capture {
    /// Reads a file; the error is one line for a person.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (number, line) = lines.next().ok_or("nothing is in it")?;
        match serde_json::from_str(text) {
            Ok(Value::Array(events)) => return Self::of_bodies(vec![body(events, number + 1)?]),
            // An array over several lines, and wrong somewhere in the middle.
            Err(error) if line.starts_with('[') && parse(number, line).is_err() => {
                return Err(format!("not JSON: {error}"));
            }
            _ => {}
        }
        let first = parse(number, line)?;
        if first["attempts"].is_array() {
            return Self::recording(&first, lines);
        }
        let mut bodies = Vec::new();
        let mut events = Vec::new();
        for (number, line) in [(number, line)].into_iter().chain(lines) {
            match parse(number, line)? {
                Value::Array(whole) => {
                    bodies.extend(take(&mut events));
                    bodies.push(body(whole, number + 1)?);
                }
                event => events.push(checked(event, number + 1)?),
            }
        }
        bodies.extend(take(&mut events));
        Self::of_bodies(bodies)
    }

    fn of_bodies(bodies: Vec<String>) -> Result<Self, String> {
        let capture =
            Self { steps: bodies.into_iter().map(Step::Post).collect(), ..Self::default() };
        if capture.events().next().is_none() {
            return Err("no telemetry event is in it".into());
        }
        Ok(capture)
    }

    fn recording<'a>(
        first: &Value,
        lines: impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<Self, String> {
        let step = |(number, line): (usize, &str)| {
            let line = parse(number, line)?;
            let text = |name: &str| line[name].as_str().map(str::to_string);
            let post = line.get("post").map(|events| Step::Post(events.to_string()));
            post.or_else(|| text("post_text").map(Step::Post))
                .or_else(|| text("invoke").map(Step::Invoke))
                .or_else(|| text("shutdown").map(Step::Shutdown))
                .or_else(|| line["oom_kills"].as_u64().map(Step::Kills))
                .or_else(|| line.get("restart").map(|_| Step::Restart))
                .or_else(|| line.get("replaced").map(|_| Step::Replaced))
                .ok_or_else(|| format!("line {}: not a line of a recording", number + 1))
        };
        Ok(Self {
            steps: lines.map(step).collect::<Result<_, _>>()?,
            attempts: first["attempts"].as_array().cloned().unwrap_or_default(),
            memory_mb: first["memory_mb"].as_u64(),
            variables: variables(first).unwrap_or_default(),
        })
    }

    /// Every event in it. Bodies in which a record was cut are no JSON and are left out.
    pub(super) fn events(&self) -> impl Iterator<Item = Value> {
        self.steps.iter().flat_map(Step::events)
    }
}

impl Step {
    /// The events of a post.
    pub(super) fn events(&self) -> Vec<Value> {
        match self {
            Self::Post(body) => serde_json::from_str(body).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

fn variables(first: &Value) -> Option<Vec<(String, String)>> {
    let pair = |pair: &Value| Some((pair[0].as_str()?.to_string(), pair[1].as_str()?.to_string()));
    first["variables"].as_array()?.iter().map(pair).collect()
}

fn parse(number: usize, line: &str) -> Result<Value, String> {
    serde_json::from_str(line).map_err(|error| format!("line {}: not JSON: {error}", number + 1))
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

    fn posts(text: &str) -> Vec<Step> {
        Capture::read(text).expect("a capture").steps
    }

    #[test]
    fn an_array_events_a_line_and_arrays_a_line_are_read() {
        let one = Step::Post(format!("[{EVENT}]"));
        let two = Step::Post(format!("[{EVENT},{EVENT}]"));
        assert_eq!(posts(&format!("[\n{EVENT},\n{EVENT}]\n")), from_ref(&two));
        assert_eq!(posts(&format!("{EVENT}\n\n{EVENT}\n")), from_ref(&two));
        assert_eq!(posts(&format!("[{EVENT}]\n[{EVENT},{EVENT}]\n")), [one.clone(), two]);
        assert_eq!(posts(&format!("{EVENT}\n[{EVENT}]\n{EVENT}")), [one.clone(), one.clone(), one]);
    }

    #[test]
    fn a_recording_has_more_than_posts() {
        let text = format!(
            "{}\n{}\n{{\"post\":[{EVENT}]}}\n{}\n{}\n{}\n{}\n{}",
            r#"{"memory_mb":192,"variables":[["A","b"]],"attempts":[{"request_id":"r"}]}"#,
            r#"{"invoke":"r"}"#,
            r#"{"post_text":"[{cut"}"#,
            r#"{"oom_kills":2}"#,
            r#"{"shutdown":"failure"}"#,
            r#"{"restart":true}"#,
            r#"{"replaced":true}"#,
        );
        let capture = Capture::read(&text).expect("a recording");
        assert_eq!((capture.memory_mb, capture.attempts.len()), (Some(192), 1));
        assert_eq!(capture.variables, [("A".to_string(), "b".to_string())]);
        let expected = [
            Step::Invoke("r".into()),
            Step::Post(format!("[{EVENT}]")),
            Step::Post("[{cut".into()),
            Step::Kills(2),
            Step::Shutdown("failure".into()),
            Step::Restart,
            Step::Replaced,
        ];
        assert_eq!(capture.steps, expected);
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
            ("[\n{},\n{]", "not JSON: key must be a string at line 3 column 2"),
            ("[1]", "line 1: no telemetry event (time, type and record): 1"),
        ] {
            assert_eq!(Capture::read(text).expect_err(text), why);
        }
    }
}
