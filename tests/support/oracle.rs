//! The detector's oracle: what must be counted, worked out afterwards.
//!
//! In: everything that was delivered, at once. Out: how far the detector's detections are from what
//! must be counted. It has no table and no limit. It is written to be read, with maps, vectors and
//! serde_json, which core may not use. `delivery.rs` assigns what was delivered to the attempts.

mod delivery;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use oom_witness_core::{
    Confidence, Detection, DetectionKind, Evidence, EvidenceSet, Status, Subject, Suspected,
};

use self::delivery::{DeliveredEnd, DeliveredEvents, is_failed};
use crate::scenario::ScriptStep;

/// The attempts, and evidence that fits none of them.
#[derive(Debug)]
pub struct Oracle {
    attempts: Vec<OracleAttempt>,
    /// Evidence from a time that the clock showed twice. Nobody can say which attempt it belongs
    /// to.
    stray: Vec<StrayEvidence>,
    /// The ids of the invocations that must warn of the memory.
    high_water: Vec<String>,
}

/// How far detections are from the oracle. They differ only if a table was full.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Difference {
    /// Attempts that had to count and did not.
    pub missing: usize,
    /// Counts that no attempt explains. With `once`: also those without a new kind of suspicion.
    pub surplus: usize,
    /// Counts with evidence that does not belong to their attempt.
    pub foreign: usize,
    /// Warnings of the memory that are missing, or that no report explains.
    pub high_water: usize,
}

/// One try to run a request. The id `environment` stands for evidence without an attempt.
#[derive(Clone, Debug, Default)]
struct OracleAttempt {
    id: String,
    start_ms: u64,
    /// The start of its init, if it has one, else its own.
    begin_ms: u64,
    has_ended: bool,
    has_failed: bool,
    is_reported: bool,
    reported_ms: u64,
    was_at_limit: bool,
    /// The numbers of the ends that say it failed. Ends are numbered as they were delivered.
    failed_ends: Vec<usize>,
    evidence: Vec<Evidence>,
}

/// Evidence that belongs to one of several attempts: those with the id, or any without one.
#[derive(Debug)]
struct StrayEvidence {
    id: Option<String>,
    evidence: Evidence,
}

impl Oracle {
    /// The oracle for an environment on demand, or on Managed Instances, where invocations overlap.
    /// `ambiguous_times` are the times that the clock showed more than once. From
    /// `high_water_percent` on, the memory gives a warning.
    ///
    /// # Panics
    /// On an event that is no JSON: the test is wrong.
    #[must_use]
    pub fn new(
        steps: &[ScriptStep],
        managed_instances: bool,
        ambiguous_times: &[RangeInclusive<u64>],
        high_water_percent: Option<u8>,
    ) -> Self {
        let mut delivered = DeliveredEvents::new(high_water_percent);
        for step in steps {
            match step {
                ScriptStep::Event(event) => {
                    delivered.add(&serde_json::from_str(event).expect("an event of a scenario"));
                }
                ScriptStep::Kill(time_ms) => {
                    delivered.add_kill(*time_ms);
                }
                ScriptStep::NextBody | ScriptStep::Restart | ScriptStep::Shutdown(_) => {}
            }
        }
        delivered.assign(managed_instances, ambiguous_times)
    }

    /// Compares `detections` with what must be counted.
    ///
    /// # Panics
    /// If a detection has the id of no attempt.
    #[must_use]
    pub fn compare(&self, suspected: Suspected, detections: &[Detection]) -> Difference {
        let is_warning = |detection: &&Detection| detection.kind == DetectionKind::HighWater;
        let mut difference = Difference {
            high_water: self.compare_warnings(detections.iter().filter(is_warning)),
            ..Difference::default()
        };
        let mut used = EvidenceSet::EMPTY;
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for detection in detections.iter().filter(|detection| !is_warning(detection)) {
            let id = match &detection.subject {
                Subject::Environment => "environment",
                Subject::Init | Subject::Restore => "init",
                Subject::Invocation(id) => id.as_str(),
            };
            *counted.entry(id).or_default() += 1;
            let is_foreign = !detection.evidence.without(self.evidence_of(id)).is_empty();
            difference.foreign += usize::from(is_foreign);
            let is_suspected_success = detection.confidence == Confidence::Suspected
                && detection.status == Status::Success;
            if suspected == Suspected::Once && is_suspected_success {
                let is_repeated = detection.evidence.without(used).is_empty();
                difference.surplus += usize::from(is_repeated);
                used = used.union(detection.evidence);
            }
        }
        // An init counts when it is seen, before the invocation that it is part of is known.
        let inits = counted.remove("init").unwrap_or_default();
        let mut possible = self.stray.len();
        let mut total = inits;
        for (id, attempts) in self.by_id() {
            let must = attempts.iter().filter(|attempt| attempt.must_count(suspected, used));
            let stray = self.stray.iter().any(|stray| stray.may_belong_to(id));
            let may = attempts.iter().filter(|attempt| stray || attempt.may_count(suspected));
            let (must, may) = (must.count(), may.count());
            let count = counted.remove(id).unwrap_or_default();
            difference.missing += must.saturating_sub(count);
            difference.surplus += count.saturating_sub(may);
            possible += attempts.iter().filter(|attempt| attempt.may_count(suspected)).count();
            total += count;
        }
        assert!(counted.is_empty(), "detections of attempts that were never delivered");
        difference.missing = difference.missing.saturating_sub(inits);
        difference.surplus = difference.surplus.max(total.saturating_sub(possible));
        if suspected == Suspected::Count && total == 0 && possible > 0 {
            difference.missing = difference.missing.max(1);
        }
        difference
    }

    /// How many warnings are missing or too many.
    fn compare_warnings<'a>(&self, warnings: impl Iterator<Item = &'a Detection>) -> usize {
        let id = |warning: &Detection| match warning.subject {
            Subject::Invocation(id) => id.as_str().to_owned(),
            other => panic!("a warning of {other:?}"),
        };
        let mut left = self.high_water.clone();
        let mut surplus = 0;
        for warning in warnings {
            match left.iter().position(|expected| *expected == id(warning)) {
                Some(at) => drop(left.remove(at)),
                None => surplus += 1,
            }
        }
        surplus + left.len()
    }

    fn by_id(&self) -> BTreeMap<&str, Vec<&OracleAttempt>> {
        let mut by_id: BTreeMap<&str, Vec<&OracleAttempt>> = BTreeMap::new();
        for attempt in &self.attempts {
            by_id.entry(&attempt.id).or_default().push(attempt);
        }
        by_id
    }

    /// All evidence that may belong to the attempts of an id.
    fn evidence_of(&self, id: &str) -> EvidenceSet {
        let attempts = self.attempts.iter().filter(|attempt| id == "init" || attempt.id == id);
        let certain = attempts.flat_map(|attempt| &attempt.evidence);
        let stray = self.stray.iter().filter(|stray| id == "init" || stray.may_belong_to(id));
        let all: Vec<Evidence> =
            certain.copied().chain(stray.map(|stray| stray.evidence)).collect();
        EvidenceSet::of(&all)
    }
}

impl OracleAttempt {
    fn is_confirmed(&self) -> bool {
        let has = |kind| self.evidence.contains(&kind);
        let fatal = has(Evidence::Fatal) || has(Evidence::KernelKill);
        let two_hints = has(Evidence::MemoryAtLimit) && has(Evidence::Mention);
        has(Evidence::ErrorType)
            || has(Evidence::Unhandled)
            || self.has_failed && (fatal || two_hints)
    }

    fn may_count(&self, suspected: Suspected) -> bool {
        self.is_confirmed() || suspected != Suspected::Ignore && !self.evidence.is_empty()
    }

    /// `used` are the kinds of evidence that have counted on successes, for `once`.
    fn must_count(&self, suspected: Suspected, used: EvidenceSet) -> bool {
        let is_success = self.has_ended && !self.has_failed;
        let is_used_up = || is_success && EvidenceSet::of(&self.evidence).without(used).is_empty();
        self.is_confirmed()
            || self.may_count(suspected) && !(suspected == Suspected::Once && is_used_up())
    }

    fn add_end(&mut self, time_ms: u64, end: &DeliveredEnd) {
        self.reported_ms = time_ms;
        self.has_failed |= is_failed(&end.status);
        self.has_ended = true;
        if end.out_of_memory {
            self.evidence.push(Evidence::ErrorType);
        }
    }
}

impl StrayEvidence {
    fn may_belong_to(&self, id: &str) -> bool {
        self.id.as_deref().is_none_or(|own| own == id)
    }
}
