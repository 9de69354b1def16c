//! One attempt: when it ran, how it ended, and the evidence gathered on it.

use crate::detection::Subject;
use crate::event::{ErrorType, RequestId, Status};
use crate::evidence::{Evidence, EvidenceSet};
use crate::snapshot::{Decoder, Encoder, decode_subject, encode_subject};

/// One run of one request, or an init or restore.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) subject: Subject,
    /// Time of its `start`.
    pub(crate) start_ms: Option<u64>,
    /// When it began: with its `start`, or with the init that it took over.
    pub(crate) begun_ms: Option<u64>,
    /// Time of its `runtimeDone`.
    pub(crate) end_ms: Option<u64>,
    /// Time of its report.
    pub(crate) report_ms: Option<u64>,
    /// How it ended: a failure is never taken back.
    pub(crate) status: Status,
    /// Its fate will not get any clearer: what is suspected counts.
    pub(crate) is_settled: bool,
    pub(crate) is_counted: bool,
    /// It began before the agent was restarted: its end may never be seen.
    pub(crate) is_before_restart: bool,
    /// An init that the next invocation takes over.
    pub(crate) joins_next_start: bool,
    pub(crate) evidence: EvidenceSet,
    /// Time of the event that brought the first evidence.
    pub(crate) evidence_ms: u64,
    pub(crate) memory_size_mb: Option<u32>,
    pub(crate) max_memory_used_mb: Option<u32>,
    /// When it entered the table, in rows made.
    pub(crate) serial: u32,
}

impl Attempt {
    pub(crate) const fn new(subject: Subject) -> Self {
        Self {
            subject,
            start_ms: None,
            begun_ms: None,
            end_ms: None,
            report_ms: None,
            status: Status::Unknown,
            is_settled: false,
            is_counted: false,
            is_before_restart: false,
            joins_next_start: false,
            evidence: EvidenceSet::EMPTY,
            evidence_ms: 0,
            memory_size_mb: None,
            max_memory_used_mb: None,
            serial: 0,
        }
    }

    /// Neither `runtimeDone` nor a report has been seen.
    pub(crate) const fn is_open(&self) -> bool {
        self.end_ms.is_none() && self.report_ms.is_none()
    }

    pub(crate) const fn is_invocation(&self) -> bool {
        matches!(self.subject, Subject::Invocation(_))
    }

    /// Sets its start, once.
    pub(crate) fn start(&mut self, time_ms: u64) {
        self.start_ms = self.start_ms.or(Some(time_ms));
        self.begin(time_ms);
    }

    /// It had begun by then.
    pub(crate) fn begin(&mut self, time_ms: u64) {
        self.begun_ms = Some(self.begun_ms.map_or(time_ms, |begun_ms| begun_ms.min(time_ms)));
    }

    pub(crate) fn has_begun_by(&self, time_ms: u64) -> bool {
        self.begun_ms.is_none_or(|begun_ms| begun_ms <= time_ms)
    }

    /// The earliest known time that it was over.
    pub(crate) fn ended_ms(&self) -> Option<u64> {
        self.end_ms.or(self.report_ms)
    }

    /// Takes a status: a failure outweighs a success, and both outweigh an unknown one.
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

    pub(crate) fn add_evidence(&mut self, kind: Evidence, time_ms: u64) {
        if self.evidence.is_empty() {
            self.evidence_ms = time_ms;
        }
        self.evidence = self.evidence.with(kind);
    }

    /// It may still have been running at `time_ms`.
    pub(crate) fn runs_until(&self, time_ms: u64) -> bool {
        self.ended_ms().is_none_or(|end_ms| end_ms >= time_ms)
    }

    /// What is known of it may still come to count.
    pub(crate) const fn has_waiting_evidence(&self) -> bool {
        !self.evidence.is_empty() && !self.is_counted && !self.is_settled
    }

    pub(crate) fn has_id(&self, id: &RequestId) -> bool {
        self.subject.request_id() == Some(id)
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encode_subject(encoder, &self.subject);
        for time_ms in [self.start_ms, self.begun_ms, self.end_ms, self.report_ms] {
            encoder.time(time_ms);
        }
        encoder.word(self.evidence_ms);
        encoder.megabytes(self.memory_size_mb);
        encoder.megabytes(self.max_memory_used_mb);
        encoder.status(self.status);
        encoder.byte(self.evidence.to_bits());
        encoder.flag(self.is_settled);
        encoder.flag(self.is_counted);
        encoder.flag(self.joins_next_start);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        let mut row = Self::new(decode_subject(decoder)?);
        row.start_ms = decoder.time()?;
        row.begun_ms = decoder.time()?;
        row.end_ms = decoder.time()?;
        row.report_ms = decoder.time()?;
        row.evidence_ms = decoder.word()?;
        row.memory_size_mb = decoder.megabytes()?;
        row.max_memory_used_mb = decoder.megabytes()?;
        row.status = decoder.status()?;
        row.evidence = EvidenceSet::from_bits(decoder.byte()?);
        row.is_settled = decoder.flag()?;
        row.is_counted = decoder.flag()?;
        row.joins_next_start = decoder.flag()?;
        row.is_before_restart = true;
        Some(row)
    }
}
