//! One attempt: when it ran, how it ended, and the evidence gathered on it.

use core::num::NonZeroU32;

use crate::detect::detection::{StartKind, Subject};
use crate::detect::snapshot::{Decoder, Encoder, decode_subject, encode_subject};
use crate::scan::event::{ErrorType, RequestId, Status};
use crate::scan::evidence::{Evidence, EvidenceSet};
use crate::time::EventTime;

/// One run of one request, or an init or restore.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Time of its `start`.
    pub(crate) start: EventTime,
    /// When it began: with its `start`, or with the init that it took over.
    pub(crate) begin: EventTime,
    /// Time of its `runtimeDone`.
    pub(crate) end: EventTime,
    /// Time of its report.
    pub(crate) report: EventTime,
    /// Time of the event that brought the first evidence.
    pub(crate) evidence_ms: u64,
    pub(crate) subject: Subject,
    /// How it ended. A failure stays a failure.
    pub(crate) status: Status,
    /// No more events are expected, so what is suspected counts.
    pub(crate) is_settled: bool,
    pub(crate) is_counted: bool,
    /// It began before the agent restarted, so its end may never be seen.
    pub(crate) is_before_restart: bool,
    /// An init that the next invocation takes over.
    pub(crate) joins_next_start: bool,
    pub(crate) first: FirstStart,
    pub(crate) evidence: EvidenceSet,
    pub(crate) memory_size_mb: Option<NonZeroU32>,
    pub(crate) max_memory_used_mb: Option<NonZeroU32>,
    pub(crate) id: RowId,
}

/// Whether it is the first invocation after an init or a restore. For a separate init or restore:
/// whether that invocation has started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FirstStart {
    No,
    Cold,
    /// More than 10 s after the init or the restore began.
    Proactive,
}

impl FirstStart {
    pub(crate) const fn to_bits(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Cold => 1,
            Self::Proactive => 2,
        }
    }

    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::No),
            1 => Some(Self::Cold),
            2 => Some(Self::Proactive),
            _ => None,
        }
    }
}

/// Names one row of the table. A later row has a larger one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct RowId(u32);

impl RowId {
    /// The name of an attempt that is in no table.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl Attempt {
    pub(crate) const fn new(subject: Subject) -> Self {
        Self {
            start: EventTime::NONE,
            begin: EventTime::NONE,
            end: EventTime::NONE,
            report: EventTime::NONE,
            evidence_ms: 0,
            subject,
            status: Status::Unknown,
            is_settled: false,
            is_counted: false,
            is_before_restart: false,
            joins_next_start: false,
            first: FirstStart::No,
            evidence: EvidenceSet::EMPTY,
            memory_size_mb: None,
            max_memory_used_mb: None,
            id: RowId::NONE,
        }
    }

    /// True if neither `runtimeDone` nor a report has been seen.
    pub(crate) const fn is_open(&self) -> bool {
        !self.end.is_known() && !self.report.is_known()
    }

    pub(crate) const fn is_invocation(&self) -> bool {
        matches!(self.subject, Subject::Invocation(_))
    }

    /// Sets its start, once.
    pub(crate) fn start(&mut self, time_ms: u64) {
        self.start.learn(time_ms);
        self.begin(time_ms);
    }

    /// Learns that it had begun by this time.
    pub(crate) fn begin(&mut self, time_ms: u64) {
        let begin_ms = self.begin.get().map_or(time_ms, |begin_ms| begin_ms.min(time_ms));
        self.begin = Some(begin_ms).into();
    }

    pub(crate) fn has_begun_by(&self, time_ms: u64) -> bool {
        self.begin.get().is_none_or(|begin_ms| begin_ms <= time_ms)
    }

    /// True if it had started by this time. Its begin decides only if its start is not known. A
    /// clock that was set back can move its begin long before its start.
    pub(crate) fn has_started_by(&self, time_ms: u64) -> bool {
        self.start.get().map_or_else(|| self.has_begun_by(time_ms), |start_ms| start_ms <= time_ms)
    }

    /// The time of its end, or else of its report.
    pub(crate) fn ended_ms(&self) -> Option<u64> {
        self.end.get().or(self.report.get())
    }

    /// Takes a status. A failure outweighs a success, and both outweigh an unknown one.
    pub(crate) fn learn(&mut self, status: Status) {
        if status != Status::Unknown && !self.status.is_failed() {
            self.status = status;
        }
    }

    /// Takes an `errorType`.
    pub(crate) fn learn_error(&mut self, error_type: ErrorType, time_ms: u64) {
        if error_type == ErrorType::OutOfMemory {
            self.add_evidence(Evidence::ErrorType, time_ms);
        }
    }

    /// Takes the figures of a report, unless an earlier report had them.
    pub(crate) fn learn_memory(&mut self, used_mb: Option<u32>, size_mb: Option<u32>) {
        self.memory_size_mb = self.memory_size_mb.or(size_mb.and_then(NonZeroU32::new));
        self.max_memory_used_mb = self.max_memory_used_mb.or(used_mb.and_then(NonZeroU32::new));
    }

    /// True if a report said that the high-water mark was at the limit. The limit is
    /// `default_size_mb` if no report named it.
    pub(crate) fn is_at_limit(&self, default_size_mb: Option<u32>) -> bool {
        let size_mb = self.memory_size_mb.map(NonZeroU32::get).or(default_size_mb);
        let used_mb = self.max_memory_used_mb.map(NonZeroU32::get);
        used_mb.zip(size_mb).is_some_and(|(used_mb, size_mb)| used_mb >= size_mb)
    }

    /// It is the first invocation after an init or a restore that began at `init_ms`.
    #[cold]
    #[inline(never)]
    pub(crate) fn follow(&mut self, init_ms: Option<u64>) {
        let waited_ms =
            self.start.get().zip(init_ms).map_or(0, |(start_ms, ms)| start_ms.saturating_sub(ms));
        let is_late = waited_ms > PROACTIVE_AFTER_MS;
        self.first = if is_late { FirstStart::Proactive } else { FirstStart::Cold };
    }

    /// True for a separate init or restore whose first invocation has not started.
    pub(crate) const fn waits_for_first_start(&self) -> bool {
        let is_waiting = !self.joins_next_start && matches!(self.first, FirstStart::No);
        is_waiting && matches!(self.subject, Subject::Init | Subject::Restore)
    }

    pub(crate) const fn start_kind(&self) -> StartKind {
        match self.first {
            FirstStart::Cold if self.is_invocation() => StartKind::Cold,
            FirstStart::Proactive if self.is_invocation() => StartKind::Proactive,
            FirstStart::No if self.is_invocation() && self.start.is_known() => StartKind::Warm,
            _ => StartKind::Unknown,
        }
    }

    /// Takes over what is known of the init that ran for it.
    pub(crate) fn take_over(&mut self, init: &Self) {
        if !init.evidence.is_empty() {
            self.evidence = self.evidence.union(init.evidence);
            self.evidence_ms = init.evidence_ms;
        }
        self.is_counted |= init.is_counted;
        self.follow(init.begin.get());
        if let Some(begin_ms) = init.begin.get() {
            self.begin(begin_ms);
        }
    }

    pub(crate) fn add_evidence(&mut self, kind: Evidence, time_ms: u64) {
        if self.evidence.is_empty() {
            self.evidence_ms = time_ms;
        }
        self.evidence = self.evidence.with(kind);
    }

    /// True if it may still have been running at `time_ms`.
    pub(crate) fn runs_until(&self, time_ms: u64) -> bool {
        self.ended_ms().is_none_or(|end_ms| end_ms >= time_ms)
    }

    /// True if it has evidence that has not counted and still may.
    pub(crate) const fn has_waiting_evidence(&self) -> bool {
        !self.evidence.is_empty() && !self.is_counted && !self.is_settled
    }

    /// True if a restarted process must know it. Otherwise it might count twice, or not at all.
    pub(crate) const fn must_survive(&self) -> bool {
        !self.evidence.is_empty() || self.is_counted || self.status.is_failed()
    }

    pub(crate) fn has_id(&self, id: &RequestId) -> bool {
        self.subject.request_id() == Some(id)
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encode_subject(encoder, &self.subject);
        for time in [self.start, self.begin, self.end, self.report] {
            encoder.time(time);
        }
        encoder.word(self.evidence_ms);
        encoder.megabytes(self.memory_size_mb.map(NonZeroU32::get));
        encoder.megabytes(self.max_memory_used_mb.map(NonZeroU32::get));
        encoder.status(self.status);
        encoder.byte(self.evidence.to_bits());
        encoder.flag(self.is_settled);
        encoder.flag(self.is_counted);
        encoder.flag(self.joins_next_start);
        encoder.byte(self.first.to_bits());
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        let mut row = Self::new(decode_subject(decoder)?);
        row.start = decoder.time()?;
        row.begin = decoder.time()?;
        row.end = decoder.time()?;
        row.report = decoder.time()?;
        row.evidence_ms = decoder.word()?;
        row.memory_size_mb = decoder.megabytes()?.and_then(NonZeroU32::new);
        row.max_memory_used_mb = decoder.megabytes()?.and_then(NonZeroU32::new);
        row.status = decoder.status()?;
        row.evidence = EvidenceSet::from_bits(decoder.byte()?);
        row.is_settled = decoder.flag()?;
        row.is_counted = decoder.flag()?;
        row.joins_next_start = decoder.flag()?;
        row.first = FirstStart::from_bits(decoder.byte()?)?;
        row.is_before_restart = true;
        Some(row)
    }
}

/// Datadog's extension draws the same line between a cold start and a proactive initialization.
const PROACTIVE_AFTER_MS: u64 = 10_000;
