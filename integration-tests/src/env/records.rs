//! The `record` of each platform event, member by member as Lambda writes it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::identity::{Identity, InitializationType};
use crate::outcome::Status;

/// The phase of an init.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Before any invocation.
    Init,
    /// As part of the invocation after a reset.
    Invoke,
    /// For a snapshot.
    SnapStart,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
            Self::SnapStart => "snap-start",
        }
    }
}

/// The figures of a report.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) duration: Duration,
    pub(crate) init: Option<Duration>,
    pub(crate) memory_size_mb: u64,
    pub(crate) max_memory_used_mb: u64,
    pub(crate) overhead: Option<(Timestamp, Duration)>,
}

pub(crate) fn init_start(identity: &Identity, phase: Phase, version: &str, id: &str) -> Value {
    let mut record = json!({
        "initializationType": identity.initialization_type.name(),
        "phase": phase.name(),
        "runtimeVersion": version,
        "functionName": identity.function_name,
        "functionVersion": identity.function_version,
        "instanceId": id,
        "instanceMaxMemory": match identity.initialization_type {
            // RIE: bytes here, MB elsewhere.
            InitializationType::ManagedInstances => identity.memory_mb << 20,
            _ => identity.memory_mb,
        },
    });
    if version.is_empty() {
        remove(&mut record, "runtimeVersion");
    }
    record
}

pub(crate) fn init_runtime_done(
    identity: &Identity,
    phase: Phase,
    status: Status,
    error: Option<&str>,
) -> Value {
    let mut record = init_outcome(identity, phase, status, error);
    record["spans"] = json!([]);
    record
}

pub(crate) fn init_report(
    identity: &Identity,
    phase: Phase,
    status: Status,
    error: Option<&str>,
    duration: Duration,
) -> Value {
    let mut record = init_outcome(identity, phase, status, error);
    record["metrics"] = json!({"durationMs": clock::ms(duration)});
    record
}

/// What the last two events of an init have in common.
fn init_outcome(identity: &Identity, phase: Phase, status: Status, error: Option<&str>) -> Value {
    let mut record = json!({
        "initializationType": identity.initialization_type.name(),
        "phase": phase.name(),
        "status": status.name(),
    });
    add_error(&mut record, error);
    record
}

pub(crate) fn restore_start(identity: &Identity, version: &str, id: &str) -> Value {
    json!({
        "runtimeVersion": version,
        "functionName": identity.function_name,
        "functionVersion": identity.function_version,
        "instanceId": id,
        "instanceMaxMemory": identity.memory_mb,
    })
}

pub(crate) fn restore_runtime_done(status: Status, error: Option<&str>) -> Value {
    let mut record = json!({"status": status.name()});
    add_error(&mut record, error);
    record["spans"] = json!([]);
    record
}

pub(crate) fn restore_report(status: Status, error: Option<&str>, duration: Duration) -> Value {
    let mut record = json!({"status": status.name()});
    add_error(&mut record, error);
    record["metrics"] = json!({"durationMs": clock::ms(duration)});
    record
}

pub(crate) fn start(identity: &Identity, request_id: &str, trace: &str) -> Value {
    json!({
        "requestId": request_id,
        "version": identity.function_version,
        "tracing": tracing(trace),
    })
}

pub(crate) fn runtime_done(
    request_id: &str,
    trace: &str,
    status: Status,
    error: Option<&str>,
    duration: Duration,
    produced_bytes: usize,
) -> Value {
    let mut record = json!({"requestId": request_id, "status": status.name()});
    add_error(&mut record, error);
    record["tracing"] = tracing(trace);
    record["spans"] = json!([]);
    record["metrics"] = json!({"durationMs": clock::ms(duration), "producedBytes": produced_bytes});
    record
}

pub(crate) fn report(
    request_id: &str,
    status: Status,
    error: Option<&str>,
    figures: &Figures,
) -> Value {
    let billed = figures.duration.as_secs_f64() * 1000.0;
    let mut metrics = json!({
        "durationMs": clock::ms(figures.duration),
        "billedDurationMs": whole(billed.ceil()),
        "memorySizeMB": figures.memory_size_mb,
        "maxMemoryUsedMB": figures.max_memory_used_mb,
    });
    if let Some(init) = figures.init {
        metrics["initDurationMs"] = Value::from(clock::ms(init));
    }
    let mut record = json!({"requestId": request_id, "metrics": metrics, "status": status.name()});
    add_error(&mut record, error);
    if let Some((start, duration)) = figures.overhead {
        record["spans"] = json!([{
            "name": "extensionOverhead",
            "start": clock::iso(start),
            "durationMs": clock::ms(duration),
        }]);
    }
    record
}

pub(crate) fn extension(name: &str, events: &[&str]) -> Value {
    json!({"name": name, "state": "Ready", "events": events})
}

/// INVOKE for an extension.
pub(crate) fn invoke_event(
    identity: &Identity,
    request_id: &str,
    trace: &str,
    deadline_ms: i64,
) -> String {
    json!({
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": request_id,
        "invokedFunctionArn": identity.arn(),
        "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
    })
    .to_string()
}

/// SHUTDOWN for an extension.
pub(crate) fn shutdown_event(reason: &str, deadline_ms: i64) -> String {
    json!({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms})
        .to_string()
}

fn tracing(trace: &str) -> Value {
    let span = trace.split(';').find_map(|part| part.strip_prefix("Parent=")).unwrap_or_default();
    json!({"spanId": span, "type": "X-Amzn-Trace-Id", "value": trace})
}

/// A number without `.0`.
fn whole(number: f64) -> Value {
    format!("{number:.0}").parse::<u64>().map_or(Value::Null, Value::from)
}

fn add_error(record: &mut Value, error: Option<&str>) {
    if let Some(error) = error {
        record["errorType"] = Value::from(error);
    }
}

fn remove(record: &mut Value, name: &str) {
    record.as_object_mut().map(|members: &mut Map<String, Value>| members.shift_remove(name));
}
