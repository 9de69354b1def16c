//! The kinds of [`Evidence`] that an attempt ran out of memory, and sets of them.

/// Declares the kinds, so that each stands in one place.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// One kind of evidence, strongest first. A snapshot knows a kind by its place in this
        /// list. When the places change, change the snapshot's version.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        pub enum Evidence {
            $($(#[$doc])* $kind,)+
        }

        impl Evidence {
            /// All kinds, strongest first.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$kind),+];

            /// Its name as a tag's value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// `errorType` was `Runtime.OutOfMemory`.
    ErrorType = "error_type",
    /// A runtime client recorded an unhandled out-of-memory error.
    Unhandled = "unhandled",
    /// A runtime wrote its fatal out-of-memory text.
    Fatal = "fatal",
    /// The kernel's `oom_kill` counter rose.
    KernelKill = "kernel_kill",
    /// `maxMemoryUsedMB` reached `memorySizeMB`.
    MemoryAtLimit = "memory_at_limit",
    /// A record mentioned an out-of-memory error.
    Mention = "mention",
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

    /// The set from one byte. Bits without a kind are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & KNOWN_BITS)
    }
}

/// One bit for each kind. More than eight kinds do not compile: a journal has one byte for them.
const KNOWN_BITS: u8 = u8::MAX >> (u8::BITS as usize - Evidence::ALL.len());
