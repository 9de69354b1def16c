//! A [`Detection`]: the verdict on an attempt, with its evidence and its [`Confidence`].

use crate::scan::event::{RequestId, Status};
use crate::scan::evidence::EvidenceSet;

/// An attempt that ran out of memory, or several that were joined ([`Detection::join`]). A detector
/// makes at most one for each attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detection {
    /// What ran out of memory.
    pub subject: Subject,
    /// The evidence that it had when it was counted.
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
    /// How many attempts it stands for. One, unless detections were joined. 0 for a test metric.
    pub count: u32,
}

impl Detection {
    /// Joins two detections into one, for a caller without room for both. It has their sum, the
    /// earlier time, and what is true of both. The request ids are lost.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let is_alike = self.status == other.status;
        let is_sure =
            (self.confidence, other.confidence) == (Confidence::Confirmed, Confidence::Confirmed);
        Self {
            subject: Subject::Environment,
            evidence: self.evidence.union(other.evidence),
            confidence: if is_sure { Confidence::Confirmed } else { Confidence::Suspected },
            status: if is_alike { self.status } else { Status::Unknown },
            time_ms: self.time_ms.min(other.time_ms),
            memory_size_mb: self.memory_size_mb.or(other.memory_size_mb),
            max_memory_used_mb: self.max_memory_used_mb.max(other.max_memory_used_mb),
            count: self.count.saturating_add(other.count),
        }
    }
}

/// What ran out of memory.
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
