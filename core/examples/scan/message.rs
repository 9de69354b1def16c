//! One message as an event: Lambda's own lines in text or JSON, and everything else as a line of
//! the function.
//!
//! Lambda's text lines are described at
//! <https://docs.aws.amazon.com/lambda/latest/dg/nodejs-logging.html>.

use oom_witness_core::{
    ErrorType, Event, EventKind, InitializationType, LogLine, Phase, PhaseOutcome, Report,
    RequestId, Runtime, Scanner, Status, parse_rfc3339_ms,
};
use serde_json::Value;

use super::input::Message;

/// What a message says.
pub(super) struct Content {
    pub(super) event: Event,
    /// The function, if the message names it.
    pub(super) function: Option<String>,
}

/// `None` for an `END` line, and for an event of the platform that says nothing of memory.
pub(super) fn read(message: &Message) -> Option<Content> {
    let text = message.text.trim_end();
    let Message { time_ms, .. } = *message;
    if let Ok(record @ Value::Object(_)) = serde_json::from_str::<Value>(text) {
        return of_json(text, &record, time_ms);
    }
    let kind = match text.split_whitespace().next().unwrap_or_default() {
        "START" => request_id(text).map(|request_id| EventKind::Start { request_id }),
        "REPORT" => report(text).map(EventKind::Report),
        "INIT_START" => Some(init_start(text)),
        "INIT_REPORT" => Some(EventKind::InitReport(outcome(text))),
        "RESTORE_START" => Some(EventKind::RestoreStart),
        "RESTORE_REPORT" => Some(EventKind::RestoreReport(outcome(text))),
        "END" if request_id(text).is_some() => return None,
        _ => None,
    };
    let kind = kind.unwrap_or_else(|| EventKind::Function(LogLine::of_text(text.as_bytes())));
    Some(Content { event: Event { time_ms, kind }, function: None })
}

/// An event of the platform, or a record of the function.
fn of_json(text: &str, record: &Value, time_ms: Option<u64>) -> Option<Content> {
    let is_platform = record["type"].as_str().is_some_and(|kind| kind.starts_with("platform."));
    if !is_platform || !record["record"].is_object() {
        let own_ms =
            record["timestamp"].as_str().and_then(|time| parse_rfc3339_ms(time.as_bytes()));
        let kind = EventKind::Function(LogLine::of_record(text.as_bytes()));
        return Some(Content {
            event: Event { time_ms: time_ms.or(own_ms), kind },
            function: None,
        });
    }
    // It is an element of a telemetry body.
    let mut scanner = Scanner::new();
    let mut found = None;
    let mut on_event = |event: &Event| found = Some(event.clone());
    scanner.feed(format!("[{text}]").as_bytes(), &mut on_event);
    scanner.end_body(&mut on_event);
    let function = record["record"]["functionName"].as_str().map(str::to_string);
    Some(Content { event: found?, function })
}

/// The word after `RequestId: `.
fn request_id(text: &str) -> Option<RequestId> {
    RequestId::try_from(field(text, "RequestId")?).ok()
}

/// The value after `NAME: `, up to the next tab, or the next blank if it is one word.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    let rest = rest.strip_prefix(':')?.trim_start();
    rest.split(['\t', ' ', '\n']).next().filter(|value| !value.is_empty())
}

/// `REPORT RequestId: ID\tDuration: ...\tMemory Size: 128 MB\tMax Memory Used: 128 MB\tStatus:
/// error\tError Type: Runtime.OutOfMemory`. Without `Status` it succeeded, or it failed in the
/// function.
fn report(text: &str) -> Option<Report> {
    let mb = |name: &str| field(text, name).and_then(|mb| mb.parse().ok());
    Some(Report {
        request_id: request_id(text)?,
        status: Status::parse(field(text, "Status").unwrap_or_default()),
        error_type: ErrorType::parse(field(text, "Error Type").unwrap_or_default()),
        memory_size_mb: mb("Memory Size"),
        max_memory_used_mb: mb("Max Memory Used"),
    })
}

/// `INIT_REPORT Init Duration: 9999.90 ms\tPhase: init\tStatus: timeout`
fn outcome(text: &str) -> PhaseOutcome {
    PhaseOutcome {
        initialization_type: InitializationType::Unknown,
        phase: Phase::parse(field(text, "Phase").unwrap_or_default()),
        status: Status::parse(field(text, "Status").unwrap_or_default()),
        error_type: ErrorType::parse(field(text, "Error Type").unwrap_or_default()),
    }
}

/// `INIT_START Runtime Version: python:3.13.v8\tRuntime Version ARN: ...`
fn init_start(text: &str) -> EventKind {
    EventKind::InitStart {
        initialization_type: InitializationType::Unknown,
        phase: Phase::Init,
        runtime: Runtime::parse(field(text, "Runtime Version").unwrap_or_default()),
    }
}
