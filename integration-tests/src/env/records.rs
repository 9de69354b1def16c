//! The `record` of each platform event, member by member as Lambda writes it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock;
use crate::identity::{self, Identity};
use crate::outcome::Status;

/// The phase of an init.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InitPhase {
    /// Before any invocation.
    Init,
    /// As part of the invocation after a reset.
    Invoke,
    /// For a snapshot.
    SnapStart,
}

/// The figures of a report.
#[derive(Clone, Debug)]
pub(crate) struct ReportFigures {
    pub(crate) duration: Duration,
    pub(crate) init: Option<Duration>,
    pub(crate) memory_size_mb: u64,
    pub(crate) max_memory_used_mb: u64,
    pub(crate) overhead: Option<(Timestamp, Duration)>,
}

/// `platform.initStart`, or `platform.restoreStart` without a phase.
pub(crate) fn init_start(
    identity: &Identity,
    phase: Option<InitPhase>,
    version: &str,
    id: &str,
) -> Value {
    record(json!({
        "initializationType": phase.map(|_| identity.initialization_type.name()),
        "phase": phase,
        "runtimeVersion": Some(version).filter(|version| !version.is_empty()),
        "functionName": identity::NAME,
        "functionVersion": identity::VERSION,
        "instanceId": id,
        // RIE: bytes on Managed Instances, MB elsewhere.
        "instanceMaxMemory": identity.memory_mb << if identity.is_managed() { 20 } else { 0 },
    }))
}

/// `platform.initRuntimeDone`, or `platform.initReport` with a duration. Without a phase it is the
/// same of a restore.
pub(crate) fn init_end(
    identity: &Identity,
    phase: Option<InitPhase>,
    (status, error): (Status, Option<&str>),
    duration: Option<Duration>,
) -> Value {
    record(json!({
        "initializationType": phase.map(|_| identity.initialization_type.name()),
        "phase": phase,
        "status": status.name(),
        "errorType": error,
        "spans": if duration.is_none() { json!([]) } else { Value::Null },
        "metrics": duration.map(|duration| json!({"durationMs": clock::ms(duration)})),
    }))
}

pub(crate) fn start(request_id: &str, trace: &str) -> Value {
    json!({"requestId": request_id, "version": identity::VERSION, "tracing": tracing(trace)})
}

pub(crate) fn runtime_done(
    request_id: &str,
    trace: &str,
    (status, error): (Status, Option<&str>),
    duration: Duration,
    produced_bytes: usize,
) -> Value {
    record(json!({
        "requestId": request_id,
        "status": status.name(),
        "errorType": error,
        "tracing": tracing(trace),
        "spans": [],
        "metrics": {"durationMs": clock::ms(duration), "producedBytes": produced_bytes},
    }))
}

pub(crate) fn report(
    request_id: &str,
    (status, error): (Status, Option<&str>),
    figures: &ReportFigures,
) -> Value {
    let billed = (figures.duration.as_secs_f64() * 1000.0).ceil();
    let overhead = |(start, duration): (Timestamp, Duration)| {
        let (start, duration) = (clock::iso(start), clock::ms(duration));
        json!([{"name": "extensionOverhead", "start": start, "durationMs": duration}])
    };
    record(json!({
        "requestId": request_id,
        "metrics": record(json!({
            "durationMs": clock::ms(figures.duration),
            "billedDurationMs": format!("{billed:.0}").parse::<u64>().ok(),
            "memorySizeMB": figures.memory_size_mb,
            "maxMemoryUsedMB": figures.max_memory_used_mb,
            "initDurationMs": figures.init.map(clock::ms),
        })),
        "status": status.name(),
        "errorType": error,
        "spans": figures.overhead.map(overhead),
    }))
}

pub(crate) fn extension(name: &str, events: &[&str]) -> Value {
    json!({"name": name, "state": "Ready", "events": events})
}

/// INVOKE for an extension.
pub(crate) fn invoke_event(request_id: &str, trace: &str, deadline_ms: i64) -> String {
    json!({
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": request_id,
        "invokedFunctionArn": identity::ARN,
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

/// A record without the members that are null.
pub(crate) fn record(mut record: Value) -> Value {
    if let Some(members) = record.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    record
}
