//! One message as an event: Lambda's own lines in text or JSON, and everything else as a line of
//! the function.
//!
//! Lambda's text lines are described at
//! <https://docs.aws.amazon.com/lambda/latest/dg/nodejs-logging.html>.

use oom_witness_core::{
    ErrorType, Event, EventKind, InitializationType, LogLine, Phase, PhaseOutcome, Report,
    RequestId, Runtime, Status,
};
use serde_json::Value;

use super::input::Message;

pub(super) enum Content {
    Event(Event),
    /// An event of the platform in JSON, as a body of telemetry.
    Telemetry {
        body: String,
        /// The function that it names.
        function: Option<String>,
        report: Option<Report>,
    },
    /// An `END` line, or one that cannot be read.
    Nothing,
}

pub(super) fn read(message: &Message) -> Content {
    let text = message.text.trim_end();
    if let Some(content) = of_json(text) {
        return content.unwrap_or(Content::Nothing);
    }
    let kind = match text.split_whitespace().next().unwrap_or_default() {
        "START" => request_id(text).map(|request_id| EventKind::Start { request_id }),
        "REPORT" => report(text).map(EventKind::Report),
        "INIT_START" => Some(init_start(text)),
        "INIT_REPORT" => Some(EventKind::InitReport(outcome(text))),
        "RESTORE_START" => Some(EventKind::RestoreStart),
        "RESTORE_REPORT" => Some(EventKind::RestoreReport(outcome(text))),
        "END" if request_id(text).is_some() => return Content::Nothing,
        _ => None,
    };
    let kind = kind.unwrap_or_else(|| EventKind::Function(LogLine::of_text(text.as_bytes())));
    Content::Event(Event { time_ms: message.time_ms, kind })
}

/// `None`: it is no JSON object. An inner `None`: an event that says nothing.
fn of_json(text: &str) -> Option<Option<Content>> {
    let Ok(record @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return None };
    let is_platform = record["type"].as_str().is_some_and(|kind| kind.starts_with("platform."));
    if !is_platform || !record["record"].is_object() {
        let kind = EventKind::Function(LogLine::of_record(text.as_bytes()));
        return Some(Some(Content::Event(Event { time_ms: None, kind })));
    }
    let function = record["record"]["functionName"].as_str().map(str::to_string);
    let report = (record["type"] == "platform.report").then(|| of_figures(&record["record"]));
    Some(Some(Content::Telemetry { body: format!("[{text}]"), function, report: report.flatten() }))
}

/// The figures of a `platform.report`, for the summary. The witness reads the event itself.
fn of_figures(record: &Value) -> Option<Report> {
    let mb = |name: &str| record["metrics"][name].as_u64().and_then(|mb| mb.try_into().ok());
    Some(Report {
        request_id: RequestId::try_from(record["requestId"].as_str()?).ok()?,
        status: Status::parse(record["status"].as_str().unwrap_or_default()),
        error_type: ErrorType::parse(record["errorType"].as_str().unwrap_or_default()),
        memory_size_mb: mb("memorySizeMB"),
        max_memory_used_mb: mb("maxMemoryUsedMB"),
    })
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
