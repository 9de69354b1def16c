//! From the crate's telemetry to the core's events. The names are AWS's in both.

use lambda_extension::{InitPhase, InitType, LambdaTelemetry, LambdaTelemetryRecord, Status};
use oom_witness_core as core;
use oom_witness_core::{ErrorType, Event, EventKind, LogLine, PhaseOutcome, Report, RequestId};
use serde_json::Value;

/// A function's record is any JSON: in the JSON log format it is an object.
pub(crate) type Telemetry = LambdaTelemetry<Value>;

/// `None` if the event does not concern memory, or has no request id that is one.
pub(crate) fn event(telemetry: &Telemetry) -> Option<Event> {
    let id = |text: &String| RequestId::try_from(text.as_str()).ok();
    let kind = match &telemetry.record {
        LambdaTelemetryRecord::Function(Value::String(text)) => {
            EventKind::Function(LogLine::of_text(text.as_bytes()))
        }
        LambdaTelemetryRecord::Function(record) => {
            EventKind::Function(LogLine::of_record(record.to_string().as_bytes()))
        }
        LambdaTelemetryRecord::PlatformInitStart {
            initialization_type,
            phase,
            runtime_version,
            ..
        } => EventKind::InitStart {
            initialization_type: initialization(initialization_type),
            phase: of_init(phase),
            runtime: core::Runtime::parse(runtime_version.as_deref().unwrap_or_default()),
        },
        LambdaTelemetryRecord::PlatformInitRuntimeDone {
            initialization_type,
            phase,
            status,
            error_type,
            ..
        } => EventKind::InitRuntimeDone(PhaseOutcome {
            initialization_type: initialization(initialization_type),
            phase: phase.as_ref().map_or(core::Phase::Unknown, of_init),
            status: of_end(status),
            error_type: error(error_type),
        }),
        LambdaTelemetryRecord::PlatformInitReport { initialization_type, phase, .. } => {
            EventKind::InitReport(PhaseOutcome {
                initialization_type: initialization(initialization_type),
                phase: of_init(phase),
                ..PhaseOutcome::default()
            })
        }
        LambdaTelemetryRecord::PlatformStart { request_id, .. } => {
            EventKind::Start { request_id: id(request_id)? }
        }
        LambdaTelemetryRecord::PlatformRuntimeDone { request_id, status, error_type, .. } => {
            EventKind::RuntimeDone {
                request_id: id(request_id)?,
                status: of_end(status),
                error_type: error(error_type),
            }
        }
        LambdaTelemetryRecord::PlatformReport {
            request_id, status, error_type, metrics, ..
        } => EventKind::Report(Report {
            status: of_end(status),
            error_type: error(error_type),
            memory_size_mb: u32::try_from(metrics.memory_size_mb).ok(),
            max_memory_used_mb: u32::try_from(metrics.max_memory_used_mb).ok(),
            ..Report::new(id(request_id)?)
        }),
        LambdaTelemetryRecord::PlatformLogsDropped { dropped_records, .. } => {
            EventKind::LogsDropped { records: u32::try_from(*dropped_records).unwrap_or(u32::MAX) }
        }
        _ => return None,
    };
    Some(Event { time_ms: u64::try_from(telemetry.time.timestamp_millis()).ok(), kind })
}

fn of_end(status: &Status) -> core::Status {
    match status {
        Status::Success => core::Status::Success,
        Status::Error => core::Status::Error,
        Status::Failure => core::Status::Failure,
        Status::Timeout => core::Status::Timeout,
    }
}

fn of_init(phase: &InitPhase) -> core::Phase {
    match phase {
        InitPhase::Init => core::Phase::Init,
        InitPhase::Invoke => core::Phase::Invoke,
    }
}

fn initialization(kind: &InitType) -> core::InitializationType {
    match kind {
        InitType::OnDemand => core::InitializationType::OnDemand,
        InitType::ProvisionedConcurrency => core::InitializationType::ProvisionedConcurrency,
        InitType::SnapStart => core::InitializationType::SnapStart,
    }
}

fn error(text: &Option<String>) -> ErrorType {
    ErrorType::parse(text.as_deref().unwrap_or_default())
}
