//! What was found: a [`Detection`] with its [`Evidence`] and its [`Confidence`].

use crate::event::{RequestId, Status};

/// An attempt that ran out of memory. At most one is made for each attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detection {
    /// What ran out of memory.
    pub subject: Subject,
    /// Everything that pointed at memory when it was counted.
    pub evidence: EvidenceSet,
    /// How sure that makes us.
    pub confidence: Confidence,
    /// How the attempt ended, as far as it was known then.
    pub status: Status,
    /// Time of the event that brought the first evidence, milliseconds since the epoch.
    pub time_ms: u64,
    /// The memory limit in MB, where a report had named it.
    pub memory_size_mb: Option<u32>,
    /// The high-water mark in MB, where a report had named it.
    pub max_memory_used_mb: Option<u32>,
}

/// What ran out of memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The environment, at a time that no attempt could be found for.
    Environment,
    /// Its init, outside of any invocation.
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

/// How sure a detection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confidence {
    /// Proof, or two independent hints on a failed attempt.
    Confirmed,
    /// A hint: the limit was reached, or somebody spoke of memory.
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

/// One kind of evidence, strongest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// `errorType` was `Runtime.OutOfMemory`.
    ErrorType,
    /// A runtime client recorded an unhandled out-of-memory error.
    Unhandled,
    /// A runtime wrote its fatal out-of-memory text.
    Fatal,
    /// The kernel's `oom_kill` counter rose.
    KernelKill,
    /// `maxMemoryUsedMB` reached `memorySizeMB`.
    MemoryAtLimit,
    /// A record spoke of an out-of-memory error.
    Mention,
}

impl Evidence {
    /// All kinds, strongest first.
    pub const ALL: [Self; 6] = [
        Self::ErrorType,
        Self::Unhandled,
        Self::Fatal,
        Self::KernelKill,
        Self::MemoryAtLimit,
        Self::Mention,
    ];

    /// Its name as a tag's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorType => "error_type",
            Self::Unhandled => "unhandled",
            Self::Fatal => "fatal",
            Self::KernelKill => "kernel_kill",
            Self::MemoryAtLimit => "memory_at_limit",
            Self::Mention => "mention",
        }
    }
}

/// The kinds of evidence gathered on one attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EvidenceSet(u8);

impl EvidenceSet {
    /// No evidence.
    pub const EMPTY: Self = Self(0);

    /// A set of these kinds.
    #[must_use]
    pub fn of(kinds: &[Evidence]) -> Self {
        kinds.iter().fold(Self::EMPTY, |set, kind| set.with(*kind))
    }

    /// This set and one kind more.
    #[must_use]
    pub const fn with(self, kind: Evidence) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// All of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if `kind` is in it.
    #[must_use]
    pub const fn contains(self, kind: Evidence) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// True if nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, strongest first.
    pub fn iter(self) -> impl Iterator<Item = Evidence> {
        Evidence::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The set as one byte, for a journal.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The set from one byte; bits without a kind are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0b11_1111)
    }
}
