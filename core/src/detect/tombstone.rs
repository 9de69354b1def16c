//! What is remembered of an attempt that has left the table: enough to recognise a late or repeated
//! event of it, and whether it has counted.

use crate::detect::attempt::{Attempt, FirstStart};
use crate::detect::detection::Subject;
use crate::detect::snapshot::{Decoder, Encoder};
use crate::hash::{self, fnv1a};
use crate::scan::event::{RequestId, Status};
use crate::time::EventTime;

/// What is remembered of an attempt that has left the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tombstone {
    id_hash: IdHash,
    pub(crate) start: EventTime,
    end: EventTime,
    pub(crate) report: EventTime,
    status: Status,
    is_counted: bool,
    first: FirstStart,
}

impl Tombstone {
    /// The tombstone of an attempt. Inits and restores have none.
    pub(crate) fn of(attempt: &Attempt) -> Option<Self> {
        Some(Self {
            id_hash: IdHash::of(attempt.subject.request_id()?),
            start: attempt.start,
            end: attempt.end,
            report: attempt.report,
            status: attempt.status,
            is_counted: attempt.is_counted,
            first: attempt.first,
        })
    }

    /// True if the attempt had the id of this hash.
    pub(crate) fn is_of(&self, id_hash: IdHash) -> bool {
        self.id_hash == id_hash
    }

    /// True if a `runtimeDone` of this time may be that of the attempt.
    pub(crate) fn ends_at(&self, time_ms: u64) -> bool {
        !self.end.is_known() || self.end.is(time_ms)
    }

    /// The attempt as it was when it left the table. It has ended, and waits for nothing.
    pub(crate) fn to_attempt(self, id: &RequestId) -> Attempt {
        let mut attempt = Attempt::new(Subject::Invocation(*id));
        attempt.start = self.start;
        attempt.begin = self.start;
        attempt.end = self.end;
        attempt.report = self.report;
        attempt.status = self.status;
        attempt.is_counted = self.is_counted;
        attempt.first = self.first;
        attempt.is_settled = true;
        attempt
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.word(self.id_hash.0);
        for time in [self.start, self.end, self.report] {
            encoder.time(time);
        }
        encoder.status(self.status);
        encoder.byte(u8::from(self.is_counted) | self.first.to_bits() << 1);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        let id_hash = IdHash(decoder.word()?);
        let (start, end, report) = (decoder.time()?, decoder.time()?, decoder.time()?);
        let (status, bits) = (decoder.status()?, decoder.byte()?);
        let (is_counted, first) = (bits & 1 == 1, FirstStart::from_bits(bits >> 1)?);
        Some(Self { id_hash, start, end, report, status, is_counted, first })
    }
}

/// The hash of a request id, kept in its place. Two of 80 remembered ids collide with a probability
/// of 1 in 10^16.
///
/// It takes some hundred instructions, so it is computed once for each search.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct IdHash(u64);

impl IdHash {
    pub(crate) fn of(id: &RequestId) -> Self {
        Self(fnv1a(hash::START, id.as_bytes()))
    }
}
