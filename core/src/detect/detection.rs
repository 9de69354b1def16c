//! A [`Detection`]: what was found about an attempt, with its evidence and its [`Confidence`].

use crate::scan::event::{RequestId, Status};
use crate::scan::evidence::EvidenceSet;

/// An attempt that ran out of memory or came near the limit, or several that were joined
/// ([`Detection::join`]). A detector makes at most one of each kind for each attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detection {
    /// What was found.
    pub kind: DetectionKind,
    /// What ran out of memory, or came near the limit.
    pub subject: Subject,
    /// The evidence that it had when it was counted. Only for [`DetectionKind::OutOfMemory`].
    pub evidence: EvidenceSet,
    /// How certain the evidence makes it.
    pub confidence: Confidence,
    /// How the attempt ended, if that was known when it was counted.
    pub status: Status,
    /// Time of the event that brought the first evidence, milliseconds since the epoch.
    pub time_ms: u64,
    /// The memory limit in MB, if a report had named it.
    pub memory_size_mb: Option<u32>,
    /// The high-water mark in MB, if a report had named it.
    pub max_memory_used_mb: Option<u32>,
    /// Whether it was the first invocation after an init.
    pub start: StartKind,
    /// How many attempts it stands for. One, unless detections were joined. 0 for a test metric.
    pub count: u32,
}

impl Detection {
    /// Joins two detections of one kind, for a caller without room for both. The joined one has
    /// their sum, the earlier time, the higher mark, and what is true of both. The request ids are
    /// lost.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let is_alike = self.status == other.status;
        let is_sure =
            (self.confidence, other.confidence) == (Confidence::Confirmed, Confidence::Confirmed);
        Self {
            kind: self.kind,
            subject: Subject::Environment,
            evidence: self.evidence.union(other.evidence),
            confidence: if is_sure { Confidence::Confirmed } else { Confidence::Suspected },
            status: if is_alike { self.status } else { Status::Unknown },
            time_ms: self.time_ms.min(other.time_ms),
            memory_size_mb: self.memory_size_mb.or(other.memory_size_mb),
            max_memory_used_mb: self.max_memory_used_mb.max(other.max_memory_used_mb),
            start: if self.start == other.start { self.start } else { StartKind::Unknown },
            count: self.count.saturating_add(other.count),
        }
    }
}

/// What was found about an attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum DetectionKind {
    /// Its report raised the high-water mark to the share of the limit that is set
    /// ([`Settings::high_water_percent`](crate::Settings::high_water_percent)).
    HighWater,
    /// It ran out of memory.
    #[default]
    OutOfMemory,
}

/// What a detection is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The environment, when no attempt is known for the evidence.
    Environment,
    /// Its init, outside any invocation.
    Init,
    /// One attempt of this invocation.
    Invocation(RequestId),
    /// Its restore from a snapshot.
    Restore,
}

impl Subject {
    /// The request id, if the subject is an invocation.
    #[must_use]
    pub const fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::Invocation(id) => Some(id),
            Self::Environment | Self::Init | Self::Restore => None,
        }
    }
}

/// Whether an invocation was the first after an init or a restore.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StartKind {
    /// It was the first, within 10 s of the init's start.
    Cold,
    /// It was the first, but later: Lambda had prepared the environment.
    Proactive,
    /// Its start has not been seen, or it is no invocation. So is each on Managed Instances.
    #[default]
    Unknown,
    /// It was not the first.
    Warm,
}

/// How certain a detection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confidence {
    /// Proof, or two independent hints on a failed attempt.
    Confirmed,
    /// A hint: the limit was reached, or a line mentioned memory.
    Suspected,
}

impl Confidence {
    /// Its name as a tag's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Suspected => "suspected",
        }
    }
}
