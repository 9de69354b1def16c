//! The verdict on an attempt: what its evidence means. Each attempt counts once.
//!
//! | Evidence | The attempt failed | It succeeded, or its end is not known |
//! |---|---|---|
//! | `ErrorType`, `Unhandled` | confirmed | confirmed |
//! | `Fatal`, `KernelKill` | confirmed | suspected |
//! | `MemoryAtLimit`, `Mention` | suspected; both together confirmed | suspected |

use core::num::NonZeroU32;

use super::high_water::HighWaterMark;
use super::{Counters, Detector, OnDetection, Settings, Suspected, add};
use crate::detect::attempt::Attempt;
use crate::detect::detection::{Confidence, Detection, DetectionKind, StartKind, Subject};
use crate::scan::event::{InitializationType, Status};
use crate::scan::evidence::{Evidence, EvidenceSet};

/// Turns evidence into detections, and counts them.
pub(super) struct Judge {
    pub(super) settings: Settings,
    /// Kinds of suspected evidence that have counted on a success ([`Suspected::Once`]).
    pub(super) used: EvidenceSet,
    pub(super) counters: Counters,
    /// Changes with each change that a restart must not lose.
    pub(super) revision: u32,
}

impl Detector {
    /// Judges each attempt with evidence that has not counted.
    pub(super) fn judge_all(&mut self, emit: &mut OnDetection<'_>) {
        for row in self.attempts.rows_mut() {
            if !row.is_counted && !row.evidence.is_empty() {
                self.judge.judge(row, emit);
            }
        }
    }

    /// Evidence that belongs to no attempt counts once for the environment.
    pub(super) fn judge_environment(&mut self, status: Status, emit: &mut OnDetection<'_>) {
        let mut environment = self.environment;
        environment.is_settled = true;
        if !self.is_managed_instances() {
            environment.learn(status);
        }
        self.judge.judge(&mut environment, emit);
        if environment.is_counted {
            self.environment = Attempt::new(Subject::Environment);
        }
    }
}

impl Judge {
    fn judge(&mut self, attempt: &mut Attempt, emit: &mut OnDetection<'_>) {
        if let Some(detection) = self.verdict(attempt) {
            attempt.is_counted = true;
            self.note_change();
            add(&mut self.counters.detections, 1);
            emit(&detection);
        }
    }

    /// Reports an attempt that came near the limit: it has not failed, and its report is the first
    /// to raise the mark to the share of the limit that is set. The report of a failure is no
    /// warning: the failure has its own evidence.
    // Apart from the code that runs when the warning is off.
    #[cold]
    #[inline(never)]
    pub(super) fn warn_if_near_limit(
        &mut self,
        attempt: &Attempt,
        mark: &mut HighWaterMark,
        time_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let detection = self.detection(attempt, Confidence::Confirmed);
        let Detection { max_memory_used_mb, memory_size_mb, status, .. } = detection;
        let (Some(used_mb), Some(size_mb), Some(percent)) =
            (max_memory_used_mb, memory_size_mb, self.settings.high_water_percent)
        else {
            return;
        };
        let share = u64::from(used_mb).saturating_mul(100);
        let is_near = share >= u64::from(size_mb).saturating_mul(percent.into());
        if status.is_failed() || !is_near || !mark.rise_near(time_ms) {
            return;
        }
        self.note_change();
        add(&mut self.counters.detections, 1);
        let kind = DetectionKind::HighWater;
        emit(&Detection { kind, evidence: EvidenceSet::EMPTY, time_ms, ..detection });
    }

    /// Judges an attempt that leaves the table. It waits for nothing more.
    pub(super) fn judge_last(&mut self, emit: &mut OnDetection<'_>) -> impl FnOnce(&mut Attempt) {
        |attempt| {
            attempt.is_settled = true;
            self.judge(attempt, emit);
        }
    }

    /// Notes that an attempt has changed, if a restart must not lose it.
    pub(super) const fn note_change_of(&mut self, attempt: &Attempt) {
        if attempt.must_survive() {
            self.note_change();
        }
    }

    /// Notes a change that a restart must not lose.
    pub(super) const fn note_change(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }

    fn verdict(&mut self, attempt: &Attempt) -> Option<Detection> {
        if attempt.is_counted || attempt.evidence.is_empty() {
            return None;
        }
        let confidence = match confirms(attempt) {
            true => Confidence::Confirmed,
            false if attempt.is_settled && self.suspicion_counts(attempt) => Confidence::Suspected,
            false => return None,
        };
        Some(self.detection(attempt, confidence))
    }

    fn detection(&self, attempt: &Attempt, confidence: Confidence) -> Detection {
        let size_mb = attempt.memory_size_mb.map(NonZeroU32::get);
        Detection {
            kind: DetectionKind::OutOfMemory,
            subject: attempt.subject,
            evidence: attempt.evidence,
            confidence,
            status: attempt.status,
            time_ms: attempt.evidence_ms,
            memory_size_mb: size_mb.or(self.settings.memory_size_mb),
            max_memory_used_mb: attempt.max_memory_used_mb.map(NonZeroU32::get),
            start: match self.settings.initialization_type {
                InitializationType::ManagedInstances => StartKind::Unknown,
                _ => attempt.start_kind(),
            },
            count: 1,
        }
    }

    fn suspicion_counts(&mut self, attempt: &Attempt) -> bool {
        match self.settings.suspected {
            Suspected::Count => true,
            Suspected::Ignore => false,
            Suspected::Once if attempt.status != Status::Success => true,
            Suspected::Once => {
                let is_new = !attempt.evidence.without(self.used).is_empty();
                self.used = self.used.union(attempt.evidence);
                is_new
            }
        }
    }
}

/// The table in the module's documentation.
fn confirms(attempt: &Attempt) -> bool {
    let has_failed = attempt.status.is_failed();
    let mut hints = 0_u8;
    for kind in attempt.evidence.iter() {
        match strength(kind) {
            Strength::Proof => return true,
            Strength::ProofOnFailure if has_failed => return true,
            Strength::ProofOnFailure => {}
            Strength::Hint => hints = hints.saturating_add(1),
        }
    }
    has_failed && hints >= 2
}

/// What a kind of evidence proves by itself.
enum Strength {
    /// The attempt ran out of memory.
    Proof,
    /// It ran out of memory, if it failed.
    ProofOnFailure,
    /// It may have. Two hints are proof if it failed.
    Hint,
}

const fn strength(kind: Evidence) -> Strength {
    match kind {
        Evidence::ErrorType | Evidence::Unhandled => Strength::Proof,
        Evidence::Fatal | Evidence::KernelKill => Strength::ProofOnFailure,
        Evidence::MemoryAtLimit | Evidence::Mention => Strength::Hint,
    }
}
