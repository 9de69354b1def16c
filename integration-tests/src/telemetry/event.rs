//! One event of the telemetry stream, and how each subscriber sees it.
//!
//! ```json
//! {"time":"2022-10-12T00:00:15.064Z","type":"platform.start","record":{"requestId":"..."}}
//! ```

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subscription::Schema;
use crate::clock;

/// The function's log format.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// Records are strings.
    #[default]
    Text,
    /// Records are objects, for subscribers of schema 2022-12-13 and later.
    Json,
}

impl LogFormat {
    /// The value of `AWS_LAMBDA_LOG_FORMAT`.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Json => "JSON",
        }
    }
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct TelemetryEvent {
    pub(crate) time: Timestamp,
    pub(crate) kind: &'static str,
    /// An object of the platform, or a line or a frame of a process.
    pub(crate) record: Value,
}

/// An event in bytes: `{"time":...,"type":...,"record":`, then the record, then `}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct EventText {
    pub(crate) envelope: String,
    pub(crate) record: String,
    /// The platform's own events are never dropped.
    pub(crate) droppable: bool,
}

impl TelemetryEvent {
    /// The stream that a subscription names.
    pub(crate) fn stream(&self) -> &'static str {
        if self.kind.starts_with("platform.") { "platform" } else { self.kind }
    }

    /// The event for a subscriber of this schema.
    pub(crate) fn render(&self, schema: Schema, format: LogFormat, escape: bool) -> EventText {
        let mut record = match &self.record {
            Value::String(text) if schema.has_objects() && format == LogFormat::Json => {
                self.object(text).to_string()
            }
            record => record.to_string(),
        };
        if escape {
            for (plain, escaped) in [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")] {
                record = record.replace(plain, escaped);
            }
        }
        let time = clock::iso(self.time);
        let envelope = format!(r#"{{"time":"{time}","type":"{}","record":"#, self.kind);
        EventText { envelope, record, droppable: self.stream() != "platform" }
    }

    /// The event as a value, in the text form.
    pub(crate) fn value(&self) -> Value {
        json!({"time": clock::iso(self.time), "type": self.kind, "record": self.record})
    }

    /// A line that is a JSON object stays as it is. Any other is wrapped in one.
    fn object(&self, text: &str) -> Value {
        match serde_json::from_str(text.trim_end_matches('\n')) {
            Ok(object @ Value::Object(_)) => object,
            _ => json!({
                "timestamp": clock::iso(self.time),
                "level": "INFO",
                "message": text.trim_end_matches('\n'),
            }),
        }
    }
}

impl EventText {
    pub(crate) fn size(&self) -> usize {
        self.envelope.len() + self.record.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> TelemetryEvent {
        let time = Timestamp::from_millisecond(1_665_532_815_064).expect("a time");
        TelemetryEvent { time, kind: "function", record: text.into() }
    }

    fn record(text: &str, schema: Schema, format: LogFormat) -> String {
        line(text).render(schema, format, false).record
    }

    #[test]
    fn the_first_schema_knows_only_strings() {
        let text = r#"{"level":"INFO"}"#;
        let string = r#""{\"level\":\"INFO\"}""#;
        assert_eq!(record(text, Schema::V2022_07_01, LogFormat::Json), string);
        assert_eq!(record(text, Schema::V2022_12_13, LogFormat::Text), string);
        assert_eq!(record(text, Schema::V2022_12_13, LogFormat::Json), text);
    }

    #[test]
    fn json_format_wraps_plain_lines() {
        assert_eq!(
            record("plain\n", Schema::V2025_01_29, LogFormat::Json),
            r#"{"timestamp":"2022-10-12T00:00:15.064Z","level":"INFO","message":"plain"}"#
        );
    }

    #[test]
    fn the_envelope_has_its_members_in_order() {
        let rendered = line("a<b").render(Schema::V2022_07_01, LogFormat::Text, true);
        let time = r#"{"time":"2022-10-12T00:00:15.064Z","#;
        assert_eq!(rendered.envelope, format!(r#"{time}"type":"function","record":"#));
        assert_eq!(rendered.record, r#""a\u003cb""#);
    }
}
