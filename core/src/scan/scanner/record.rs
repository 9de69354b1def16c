//! Makes an event from the pruned record of a platform event.

use crate::scan::event::{
    ErrorType, EventKind, InitializationType, Phase, PhaseOutcome, Report, RequestId, Status,
};
use crate::scan::prune::pruned_members;
use crate::scan::runtime::Runtime;
use crate::sizes::{
    AWS_WORD_SIZE, ERROR_TYPE_SIZE, INITIALIZATION_TYPE_SIZE, REQUEST_ID_SIZE, RUNTIME_VERSION_SIZE,
};

/// Why an element gives no event.
pub(super) enum NoEvent {
    Malformed,
    Unknown,
}

pruned_members! {
    /// The members of a platform event's record that matter.
    pub(super) struct PlatformRecord, metrics: true, {
        dropped_records: u64 = "droppedRecords",
        error_type: heapless::String<ERROR_TYPE_SIZE> = "errorType",
        initialization_type: heapless::String<INITIALIZATION_TYPE_SIZE> = "initializationType",
        max_memory_used_mb: u64 = "maxMemoryUsedMB",
        memory_size_mb: u64 = "memorySizeMB",
        phase: heapless::String<AWS_WORD_SIZE> = "phase",
        request_id: heapless::String<REQUEST_ID_SIZE> = "requestId",
        runtime_version: heapless::String<RUNTIME_VERSION_SIZE> = "runtimeVersion",
        status: heapless::String<AWS_WORD_SIZE> = "status",
    }
}

impl PlatformRecord {
    /// The event of this type.
    pub(super) fn kind(&self, name: &[u8]) -> Result<EventKind, NoEvent> {
        Ok(match name {
            b"platform.extension" => EventKind::Extension { error_type: self.error_type() },
            b"platform.initReport" => EventKind::InitReport(self.outcome()),
            b"platform.initRuntimeDone" => EventKind::InitRuntimeDone(self.outcome()),
            b"platform.initStart" => EventKind::InitStart {
                initialization_type: InitializationType::parse(&self.initialization_type),
                phase: Phase::parse(&self.phase),
                runtime: Runtime::parse(&self.runtime_version),
            },
            b"platform.logsDropped" => EventKind::LogsDropped {
                records: u32::try_from(self.dropped_records).unwrap_or(u32::MAX),
            },
            b"platform.report" => EventKind::Report(Report {
                request_id: self.request_id()?,
                status: Status::parse(&self.status),
                error_type: self.error_type(),
                memory_size_mb: megabytes(self.memory_size_mb),
                max_memory_used_mb: megabytes(self.max_memory_used_mb),
            }),
            b"platform.restoreReport" => EventKind::RestoreReport(self.outcome()),
            b"platform.restoreRuntimeDone" => EventKind::RestoreRuntimeDone(self.outcome()),
            b"platform.restoreStart" => EventKind::RestoreStart,
            b"platform.runtimeDone" => EventKind::RuntimeDone {
                request_id: self.request_id()?,
                status: Status::parse(&self.status),
                error_type: self.error_type(),
            },
            b"platform.start" => EventKind::Start { request_id: self.request_id()? },
            b"" => return Err(NoEvent::Malformed),
            _ => return Err(NoEvent::Unknown),
        })
    }

    fn request_id(&self) -> Result<RequestId, NoEvent> {
        RequestId::try_from(self.request_id.as_str()).map_err(|_| NoEvent::Malformed)
    }

    fn error_type(&self) -> ErrorType {
        ErrorType::parse(&self.error_type)
    }

    fn outcome(&self) -> PhaseOutcome {
        PhaseOutcome {
            initialization_type: InitializationType::parse(&self.initialization_type),
            phase: Phase::parse(&self.phase),
            status: Status::parse(&self.status),
            error_type: self.error_type(),
        }
    }
}

/// A figure below 1 MB counts as missing.
fn megabytes(value: u64) -> Option<u32> {
    (value >= 1).then(|| u32::try_from(value).unwrap_or(u32::MAX))
}
