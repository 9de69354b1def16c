//! What is remembered of an attempt that has left the table: enough to know a late or repeated
//! signal for it, and whether it has counted.

use crate::attempt::Attempt;
use crate::detection::Subject;
use crate::event::{RequestId, Status};
use crate::snapshot::{Decoder, Encoder};

/// What is remembered of an attempt that has left the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tombstone {
    id_hash: u64,
    pub(crate) start_ms: Option<u64>,
    end_ms: Option<u64>,
    pub(crate) report_ms: Option<u64>,
    status: Status,
    is_counted: bool,
}

impl Tombstone {
    /// What to remember of an attempt; nothing of inits and restores.
    pub(crate) fn of(attempt: &Attempt) -> Option<Self> {
        Some(Self {
            id_hash: hash(attempt.subject.request_id()?),
            start_ms: attempt.start_ms,
            end_ms: attempt.end_ms,
            report_ms: attempt.report_ms,
            status: attempt.status,
            is_counted: attempt.is_counted,
        })
    }

    /// True if it stands for an attempt with this id.
    pub(crate) fn is_of(&self, id: &RequestId) -> bool {
        self.id_hash == hash(id)
    }

    /// True if a `runtimeDone` of this time may be its own.
    pub(crate) fn ends_at(&self, time_ms: u64) -> bool {
        self.end_ms.is_none_or(|end_ms| end_ms == time_ms)
    }

    /// The attempt again, since a late signal for it has come: over, and with what it was before.
    pub(crate) fn revive(&self, id: &RequestId) -> Attempt {
        let mut attempt = Attempt::new(Subject::Invocation(*id));
        attempt.start_ms = self.start_ms;
        attempt.begun_ms = self.start_ms;
        attempt.end_ms = self.end_ms;
        attempt.report_ms = self.report_ms;
        attempt.status = self.status;
        attempt.is_counted = self.is_counted;
        attempt.is_settled = true;
        attempt
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.word(self.id_hash);
        for time_ms in [self.start_ms, self.end_ms, self.report_ms] {
            encoder.time(time_ms);
        }
        encoder.status(self.status);
        encoder.flag(self.is_counted);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            id_hash: decoder.word()?,
            start_ms: decoder.time()?,
            end_ms: decoder.time()?,
            report_ms: decoder.time()?,
            status: decoder.status()?,
            is_counted: decoder.flag()?,
        })
    }
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>): one collision in 64 remembered ids is as
/// likely as 1 in 10^16.
fn hash(id: &RequestId) -> u64 {
    id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
