//! The file format of a recording: what one extension received, in order.
//!
//! The first line says what was run and what is true of it. Each further line is one thing that the
//! extension received, or one thing that happened between two of them.
//!
//! ```json
//! {"how":"sandbox record ...","runtime":"...","memory_mb":128,"initialization_type":"on-demand",
//!  "date":"2026-11-22","about":"...",
//!  "attempts":[{"request_id":"...","status":"error","error_type":"Runtime.OutOfMemory",
//!  "killed":"function","oom_kills":1,"out_of_memory":true}]}
//! {"post":[{"time":"...","type":"platform.start","record":{"requestId":"..."}}]}
//! {"post_text":"[{\"time\":\"...\",\"type\":\"function\",\"record\":\"AAAA}]"}
//! {"invoke":"3da1f2dc-3222-475e-9205-e2e6c6318895"}
//! {"shutdown":"failure"}
//! {"oom_kills":1}
//! {"restart":true}
//! {"replaced":true}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The first line of a recording. Another's capture may have a part of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RecordingHeader {
    /// The command that made it.
    pub(crate) how: String,
    /// The function's runtime, with its version.
    pub(crate) runtime: String,
    pub(crate) memory_mb: Option<u64>,
    pub(crate) initialization_type: String,
    pub(crate) date: String,
    /// What happens in it, in a sentence.
    pub(crate) about: String,
    /// Each attempt to run the function: how it ended, and whether it ran out of memory.
    pub(crate) attempts: Vec<Value>,
    /// What the extension was given beside Lambda's own variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) variables: Vec<(String, String)>,
}

/// One line after the first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordingLine {
    /// The body of a telemetry request that the extension answered, whatever the answer.
    Post(String),
    /// INVOKE, with its request id.
    Invoke(String),
    /// SHUTDOWN, with its reason.
    Shutdown(String),
    /// The kernel has killed so many processes of the environment by now.
    Kills(u64),
    /// The extension's process is a new one.
    Restart,
    /// The environment is a new one, with another `/tmp`.
    Replaced,
}

impl RecordingLine {
    pub(crate) fn post(body: &[u8]) -> Self {
        Self::Post(String::from_utf8_lossy(body).into_owned())
    }

    /// Its text in the file. A body that is JSON stays as it was sent, byte by byte.
    pub fn line(&self) -> String {
        let line = match self {
            Self::Post(body) => match serde_json::from_str::<Value>(body) {
                Ok(_) if !body.contains('\n') => return format!(r#"{{"post":{body}}}"#),
                Ok(events) => json!({"post": events}),
                Err(_) => json!({"post_text": body}),
            },
            Self::Invoke(id) => json!({"invoke": id}),
            Self::Shutdown(reason) => json!({"shutdown": reason}),
            Self::Kills(kills) => json!({"oom_kills": kills}),
            Self::Restart => json!({"restart": true}),
            Self::Replaced => json!({"replaced": true}),
        };
        line.to_string()
    }

    /// Reads a line. `None`: it has not exactly one member, or one of another name.
    pub fn parse(line: &Value) -> Option<Self> {
        let members = line.as_object().filter(|members| members.len() == 1)?;
        let (name, value) = members.iter().next()?;
        let text = || value.as_str().map(str::to_string);
        match name.as_str() {
            "post" => Some(Self::Post(value.to_string())),
            "post_text" => text().map(Self::Post),
            "invoke" => text().map(Self::Invoke),
            "shutdown" => text().map(Self::Shutdown),
            "oom_kills" => value.as_u64().map(Self::Kills),
            "restart" => Some(Self::Restart),
            "replaced" => Some(Self::Replaced),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(body: &str) -> String {
        RecordingLine::post(body.as_bytes()).line()
    }

    #[test]
    fn a_body_is_recorded_as_it_was_sent() {
        assert_eq!(line(r#"[{"a":1.50}]"#), r#"{"post":[{"a":1.50}]}"#);
        assert_eq!(line("[\n1]"), r#"{"post":[1]}"#);
        assert_eq!(line(r#"[{"record":"AA}]"#), r#"{"post_text":"[{\"record\":\"AA}]"}"#);
    }

    #[test]
    fn each_line_is_read_back() {
        for line in [
            RecordingLine::Post(r#"[{"a":1}]"#.into()),
            RecordingLine::Post("[{cut".into()),
            RecordingLine::Invoke("r".into()),
            RecordingLine::Shutdown("failure".into()),
            RecordingLine::Kills(2),
            RecordingLine::Restart,
            RecordingLine::Replaced,
        ] {
            let text: Value = serde_json::from_str(&line.line()).expect("JSON");
            assert_eq!(RecordingLine::parse(&text), Some(line));
        }
        for text in [r#"{"x":1}"#, r#"{"restart":true,"x":1}"#, r#"{"invoke":1}"#, "{}", "1"] {
            let text: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(RecordingLine::parse(&text), None, "{text}");
        }
    }
}
