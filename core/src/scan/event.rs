//! The events of telemetry, with AWS's names: one [`Event`] for each element of a batch.
//!
//! Field names and values are those of the Telemetry API's event schema
//! (<https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>). The `type` of
//! an event becomes an [`EventKind`] in `scanner/record.rs`.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::Error;
use crate::scan::evidence::Evidence;
use crate::scan::runtime::Runtime;
use crate::sizes::REQUEST_ID_MAX;

/// One telemetry event: its time and its content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The event's `time` in milliseconds since the epoch; `None` when it is missing or unreadable.
    pub time_ms: Option<u64>,
    /// Its `type` and those members of its `record` that concern memory.
    pub kind: EventKind,
}

/// The types of event that matter here. The scanner skips every other type.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// `platform.extension`: an extension's state; `error_type` may be `Extension.Crash`.
    Extension {
        /// Its `errorType`, if it has one.
        error_type: ErrorType,
    },
    /// `platform.fault`: a text of the platform about a runtime that died (Logs API, and some
    /// tools).
    Fault(LogLine),
    /// `function`: a record that the function or its runtime wrote.
    Function(LogLine),
    /// `platform.initReport`: the end of an init, with its outcome.
    InitReport(PhaseOutcome),
    /// `platform.initRuntimeDone`: the runtime's end of an init, with its outcome.
    InitRuntimeDone(PhaseOutcome),
    /// `platform.initStart`.
    InitStart {
        /// Its `initializationType`.
        initialization_type: InitializationType,
        /// Its `phase`.
        phase: Phase,
        /// What its `runtimeVersion` names.
        runtime: Runtime,
    },
    /// `platform.logsDropped`: Lambda dropped telemetry.
    LogsDropped {
        /// Its `droppedRecords`.
        records: u32,
    },
    /// `platform.report`: the final report on an invocation.
    Report(Report),
    /// `platform.restoreReport`: the end of a SnapStart restore.
    RestoreReport(PhaseOutcome),
    /// `platform.restoreRuntimeDone`: the runtime's end of a SnapStart restore.
    RestoreRuntimeDone(PhaseOutcome),
    /// `platform.restoreStart`.
    RestoreStart,
    /// `platform.runtimeDone`: the runtime finished, failed or died.
    RuntimeDone {
        /// The invocation.
        request_id: RequestId,
        /// How it ended.
        status: Status,
        /// Why, when it failed.
        error_type: ErrorType,
    },
    /// `platform.start`: an invocation begins.
    Start {
        /// The invocation.
        request_id: RequestId,
    },
}

/// A record that a function or the platform wrote, reduced to what it proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// The invocation, where the record names it.
    pub request_id: Option<RequestId>,
    /// The strongest evidence in it: `Unhandled`, `Fatal`, `Mention` or none.
    pub evidence: Option<Evidence>,
}

/// The outcome of an init or a restore.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PhaseOutcome {
    /// `initializationType`; unknown for a restore.
    pub initialization_type: InitializationType,
    /// `phase`; unknown for a restore.
    pub phase: Phase,
    /// `status`.
    pub status: Status,
    /// `errorType`.
    pub error_type: ErrorType,
}

/// The members of `platform.report` that concern memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Report {
    /// The invocation.
    pub request_id: RequestId,
    /// How it ended.
    pub status: Status,
    /// Why, when it failed.
    pub error_type: ErrorType,
    /// `metrics.memorySizeMB`: the limit. Absent on Managed Instances.
    pub memory_size_mb: Option<u32>,
    /// `metrics.maxMemoryUsedMB`: the high-water mark. Absent on Managed Instances.
    pub max_memory_used_mb: Option<u32>,
}

impl Report {
    /// A report that says nothing but whose it is. Set what your report says.
    #[must_use]
    pub const fn new(request_id: RequestId) -> Self {
        Self {
            request_id,
            status: Status::Unknown,
            error_type: ErrorType::None,
            memory_size_mb: None,
            max_memory_used_mb: None,
        }
    }
}

/// An invocation's id: 1 to 36 printable ASCII bytes.
#[derive(Clone, Copy, Eq)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_MAX],
    len: u8,
}

impl PartialEq for RequestId {
    /// Compares the first bytes as one number, since UUIDs mostly differ there.
    fn eq(&self, other: &Self) -> bool {
        self.bytes.first_chunk::<8>() == other.bytes.first_chunk::<8>()
            && self.len == other.len
            && self.bytes == other.bytes
    }
}

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The id as bytes, all of them printable ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl TryFrom<&[u8]> for RequestId {
    type Error = Error;

    /// # Errors
    /// [`Error::BadRequestId`] unless `text` is 1 to 36 printable ASCII bytes.
    fn try_from(text: &[u8]) -> Result<Self, Error> {
        let mut bytes = [0; REQUEST_ID_MAX];
        let slot = bytes.get_mut(..text.len()).ok_or(Error::BadRequestId)?;
        if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            return Err(Error::BadRequestId);
        }
        slot.copy_from_slice(text);
        let len = u8::try_from(text.len()).map_err(|_| Error::BadRequestId)?;
        Ok(Self { bytes, len })
    }
}

impl TryFrom<&str> for RequestId {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        Self::try_from(text.as_bytes())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Ord for RequestId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for RequestId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `status` of an invocation, an init or a restore.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// It failed in the function.
    Error,
    /// It failed in the platform.
    Failure,
    /// It succeeded.
    Success,
    /// It ran out of time.
    Timeout,
    /// No status, or one that AWS did not document when this was written.
    #[default]
    Unknown,
}

impl Status {
    /// True for `error`, `failure` and `timeout`.
    #[must_use]
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::Error | Self::Failure | Self::Timeout)
    }

    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Failure => "failure",
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Unknown => "unknown",
        }
    }

    /// Reads AWS's spelling; anything else is `Unknown`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "error" => Self::Error,
            "failure" => Self::Failure,
            "success" => Self::Success,
            "timeout" => Self::Timeout,
            _ => Self::Unknown,
        }
    }
}

/// `errorType`, reduced to the values that concern memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorType {
    /// `Extension.Crash`: an extension died. The OOM killer may have killed it.
    ExtensionCrash,
    /// No `errorType`.
    #[default]
    None,
    /// Any other.
    Other,
    /// `Runtime.OutOfMemory`: the platform saw the kernel kill the runtime for memory.
    OutOfMemory,
}

impl ErrorType {
    /// Reads AWS's spelling; an empty text is `None`, and a value without memory `Other`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "" => Self::None,
            "Extension.Crash" => Self::ExtensionCrash,
            "Runtime.OutOfMemory" => Self::OutOfMemory,
            _ => Self::Other,
        }
    }
}

/// `phase` of an init.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// The first init of the environment.
    Init,
    /// An init that is repeated inside an invocation, after a reset.
    Invoke,
    /// The init before a snapshot.
    SnapStart,
    /// None, or one that AWS did not document when this was written.
    #[default]
    Unknown,
}

impl Phase {
    /// Reads AWS's spelling; anything else is `Unknown`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "init" => Self::Init,
            "invoke" => Self::Invoke,
            "snap-start" => Self::SnapStart,
            _ => Self::Unknown,
        }
    }
}

/// `initializationType` of the environment, also in `AWS_LAMBDA_INITIALIZATION_TYPE`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum InitializationType {
    /// `lambda-managed-instances`: several invocations at once, no freeze, no reset.
    ManagedInstances,
    /// `on-demand`.
    OnDemand,
    /// `provisioned-concurrency`.
    ProvisionedConcurrency,
    /// `snap-start`.
    SnapStart,
    /// None, or one that AWS did not document when this was written.
    #[default]
    Unknown,
}

impl InitializationType {
    /// Reads AWS's spelling; anything else is `Unknown`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "lambda-managed-instances" => Self::ManagedInstances,
            "on-demand" => Self::OnDemand,
            "provisioned-concurrency" => Self::ProvisionedConcurrency,
            "snap-start" | "SnapStart" => Self::SnapStart,
            _ => Self::Unknown,
        }
    }
}
