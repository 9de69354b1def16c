//! The detector's oracle: what must be counted, worked out with hindsight.
//!
//! It sees all events at once, and looks at what was delivered about each attempt. It has no table
//! and no limit. It is written to be read, with maps, vectors and serde_json, which the core may
//! not use.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use oom_witness_core::{Confidence, Detection, Evidence, EvidenceSet, Status, Subject, Suspected};
use serde_json::Value;

use crate::scenario::ScriptStep;

/// The attempts, and evidence that fits none of them.
#[derive(Debug)]
pub struct Hindsight {
    attempts: Vec<Attempt>,
    /// Evidence from a time that the clock showed twice. Nobody can say which attempt it belongs
    /// to.
    stray: Vec<Stray>,
}

/// How far detections are from the oracle: not at all, unless a table was full.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Difference {
    /// Attempts that had to count and did not.
    pub missing: usize,
    /// Counts that no attempt explains, or, with `once`, that no new kind of suspicion explains.
    pub surplus: usize,
    /// Counts with evidence that was not delivered about their attempt.
    pub foreign: usize,
}

/// One run of one request. `environment` stands for evidence without an attempt.
#[derive(Clone, Debug, Default)]
struct Attempt {
    id: String,
    start_ms: u64,
    begun_ms: u64,
    has_ended: bool,
    has_failed: bool,
    is_reported: bool,
    reported_ms: u64,
    was_at_limit: bool,
    /// The ends, by their order of delivery, that say it failed.
    failed_by: Vec<usize>,
    evidence: Vec<Evidence>,
}

/// Evidence of one of these: the attempts of an id, or, without one, anything.
#[derive(Debug)]
struct Stray {
    id: Option<String>,
    evidence: Evidence,
}

impl Hindsight {
    /// The oracle for an environment on demand, or on Managed Instances, where invocations overlap.
    /// `lived_twice` are the times that the clock showed more than once.
    #[must_use]
    pub fn of(
        steps: &[ScriptStep],
        managed_instances: bool,
        lived_twice: &[RangeInclusive<u64>],
    ) -> Self {
        let mut life = Life::default();
        for step in steps {
            match step {
                ScriptStep::Event(event) => {
                    life.take(&serde_json::from_str(event).expect("an event of a scenario"));
                }
                ScriptStep::Kill(time_ms) => {
                    life.lines.push((*time_ms, String::new(), Evidence::KernelKill));
                }
                ScriptStep::NextBody | ScriptStep::Restart | ScriptStep::Shutdown(_) => {}
            }
        }
        life.look_back(managed_instances, lived_twice)
    }

    /// How far `detections` are from what must be counted.
    #[must_use]
    pub fn compare(&self, suspected: Suspected, detections: &[Detection]) -> Difference {
        let mut difference = Difference::default();
        let mut used = EvidenceSet::EMPTY;
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for detection in detections {
            let id = match &detection.subject {
                Subject::Environment => "environment",
                Subject::Init | Subject::Restore => "init",
                Subject::Invocation(id) => id.as_str(),
            };
            *counted.entry(id).or_default() += 1;
            let is_foreign = !detection.evidence.without(self.delivered_about(id)).is_empty();
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
            let stray = self.stray.iter().any(|stray| stray.is_of(id));
            let may = attempts.iter().filter(|attempt| stray || attempt.may_count(suspected));
            let (must, may) = (must.count(), may.count());
            let count = counted.remove(id).unwrap_or_default();
            difference.missing += must.saturating_sub(count);
            difference.surplus += count.saturating_sub(may);
            possible += attempts.iter().filter(|attempt| attempt.may_count(suspected)).count();
            total += count;
        }
        assert!(counted.is_empty(), "detections of attempts that were delivered");
        difference.missing = difference.missing.saturating_sub(inits);
        difference.surplus = difference.surplus.max(total.saturating_sub(possible));
        if suspected == Suspected::Count && total == 0 && possible > 0 {
            difference.missing = difference.missing.max(1);
        }
        difference
    }

    fn by_id(&self) -> BTreeMap<&str, Vec<&Attempt>> {
        let mut by_id: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
        for attempt in &self.attempts {
            by_id.entry(&attempt.id).or_default().push(attempt);
        }
        by_id
    }

    fn delivered_about(&self, id: &str) -> EvidenceSet {
        let attempts = self.attempts.iter().filter(|attempt| id == "init" || attempt.id == id);
        let sure = attempts.flat_map(|attempt| &attempt.evidence);
        let stray = self.stray.iter().filter(|stray| id == "init" || stray.is_of(id));
        let all: Vec<Evidence> = sure.copied().chain(stray.map(|stray| stray.evidence)).collect();
        EvidenceSet::of(&all)
    }
}

impl Attempt {
    fn is_confirmed(&self) -> bool {
        let has = |kind| self.evidence.contains(&kind);
        let dying = has(Evidence::Fatal) || has(Evidence::KernelKill);
        let two_hints = has(Evidence::MemoryAtLimit) && has(Evidence::Mention);
        has(Evidence::ErrorType)
            || has(Evidence::Unhandled)
            || self.has_failed && (dying || two_hints)
    }

    fn may_count(&self, suspected: Suspected) -> bool {
        self.is_confirmed() || suspected != Suspected::Ignore && !self.evidence.is_empty()
    }

    /// `used` are the kinds that have counted on successes (`once`).
    fn must_count(&self, suspected: Suspected, used: EvidenceSet) -> bool {
        let is_success = self.has_ended && !self.has_failed;
        let is_old = || is_success && EvidenceSet::of(&self.evidence).without(used).is_empty();
        self.is_confirmed()
            || self.may_count(suspected) && !(suspected == Suspected::Once && is_old())
    }

    fn learn(&mut self, time_ms: u64, ending: &Ending) {
        self.reported_ms = time_ms;
        self.has_failed |= is_failed(&ending.status);
        self.has_ended = true;
        if ending.out_of_memory {
            self.evidence.push(Evidence::ErrorType);
        }
    }
}

impl Stray {
    fn is_of(&self, id: &str) -> bool {
        self.id.as_deref().is_none_or(|its| its == id)
    }
}

/// Everything that was delivered, in the order of its first delivery.
#[derive(Default)]
struct Life {
    starts: Seen<(u64, String)>,
    ends: Seen<(u64, String, Ending)>,
    /// The number of starts that were known at each end, and at each report.
    starts_before_end: Vec<usize>,
    starts_before_report: Vec<usize>,
    reports: Seen<(u64, String, Ending, bool)>,
    /// The number of ends that were known at each report, and the latest failure, which reset the
    /// environment.
    known_before_report: Vec<(usize, u64)>,
    reset_ms: u64,
    /// Each delivery: one that is repeated may be taken for another.
    lines: Vec<(u64, String, Evidence)>,
    /// Inits and what they ended with.
    inits: Seen<(u64, bool)>,
}

/// A list of different things.
struct Seen<T>(Vec<T>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Seen<T> {
    /// True if it is new.
    fn learn(&mut self, thing: T) -> bool {
        let is_new = !self.0.contains(&thing);
        if is_new {
            self.0.push(thing);
        }
        is_new
    }
}

/// A status and whether the error was out of memory.
#[derive(Clone, Debug, PartialEq)]
struct Ending {
    status: String,
    out_of_memory: bool,
}

impl Life {
    fn take(&mut self, event: &Value) {
        let time: jiff::Timestamp =
            event["time"].as_str().unwrap_or_default().parse().expect("a time");
        let time_ms = u64::try_from(time.as_millisecond()).expect("a time after 1970");
        let record = &event["record"];
        let id = record["requestId"].as_str().unwrap_or_default().to_owned();
        let ending = Ending {
            status: record["status"].as_str().unwrap_or_default().to_owned(),
            out_of_memory: record["errorType"] == "Runtime.OutOfMemory",
        };
        match event["type"].as_str().unwrap_or_default() {
            "platform.start" => {
                self.starts.learn((time_ms, id));
            }
            "platform.runtimeDone" => {
                self.learn_reset(time_ms, &ending);
                let is_new = self.ends.learn((time_ms, id, ending));
                self.starts_before_end.extend(is_new.then_some(self.starts.0.len()));
            }
            "platform.report" => {
                let metrics = &record["metrics"];
                let figure = |name: &str| metrics[name].as_f64().unwrap_or(0.0);
                let at_limit = figure("memorySizeMB") >= 1.0
                    && figure("maxMemoryUsedMB") >= figure("memorySizeMB");
                self.learn_reset(time_ms, &ending);
                let is_new = self.reports.learn((time_ms, id, ending, at_limit));
                self.starts_before_report.extend(is_new.then_some(self.starts.0.len()));
                let known = (self.ends.0.len(), self.reset_ms);
                self.known_before_report.extend(is_new.then_some(known));
            }
            "platform.initStart" | "platform.initRuntimeDone" | "platform.initReport" => {
                self.inits.learn((time_ms, ending.out_of_memory));
            }
            "function" => {
                if let Some(evidence) = evidence(record) {
                    self.lines.push((time_ms, id, evidence));
                }
            }
            _ => {}
        }
    }

    fn learn_reset(&mut self, time_ms: u64, ending: &Ending) {
        if is_failed(&ending.status) {
            self.reset_ms = self.reset_ms.max(time_ms);
        }
    }

    fn look_back(self, managed_instances: bool, lived_twice: &[RangeInclusive<u64>]) -> Hindsight {
        let attempts = self.starts.0.iter().map(started).collect();
        let mut hindsight = Hindsight { attempts, stray: Vec::new() };
        self.place_inits(lived_twice, &mut hindsight);
        self.place_ends(&mut hindsight.attempts);
        self.place_reports(&mut hindsight.attempts);
        self.place_lines(managed_instances, lived_twice, &mut hindsight);
        hindsight
    }

    /// An on-demand init is part of the next invocation to start.
    fn place_inits(&self, lived_twice: &[RangeInclusive<u64>], hindsight: &mut Hindsight) {
        let Hindsight { attempts, stray } = hindsight;
        for (time_ms, out_of_memory) in &self.inits.0 {
            let next = attempts.iter_mut().find(|attempt| attempt.start_ms >= *time_ms);
            if is_twice(lived_twice, *time_ms) {
                if *out_of_memory {
                    stray.push(Stray { id: None, evidence: Evidence::ErrorType });
                }
            } else if let Some(next) = next {
                next.begun_ms = next.begun_ms.min(*time_ms);
                next.evidence.extend(out_of_memory.then_some(Evidence::ErrorType));
            }
        }
    }

    fn place_ends(&self, attempts: &mut [Attempt]) {
        let ends = self.ends.0.iter().zip(&self.starts_before_end).enumerate();
        for (number, ((time_ms, id, ending), known)) in ends {
            let of_id = |attempt: &&mut Attempt| attempt.id == *id;
            let attempt = attempts[..*known].iter_mut().rfind(of_id).expect("an end has a start");
            attempt.learn(*time_ms, ending);
            attempt.failed_by.extend(is_failed(&ending.status).then_some(number));
        }
    }

    fn place_reports(&self, attempts: &mut [Attempt]) {
        // Times of reports at the limit whose invocations were not known to have failed.
        let mut at_the_limit: Vec<u64> = Vec::new();
        let reports = self.reports.0.iter().zip(&self.starts_before_report);
        for ((report, known), (ends, reset_ms)) in reports.zip(&self.known_before_report) {
            let (time_ms, id, ending, at_limit) = report;
            // The oldest without a report. Those that had begun by then come first.
            let waiting = |attempt: &Attempt| attempt.id == *id && !attempt.is_reported;
            let begun = |attempt: &Attempt| waiting(attempt) && attempt.start_ms <= *time_ms;
            let at = attempts[..*known].iter().position(begun);
            let at = at.or_else(|| attempts.iter().position(waiting));
            let attempt = &mut attempts[at.expect("a report has a start")];
            attempt.is_reported = true;
            attempt.learn(*time_ms, ending);
            attempt.was_at_limit |= at_limit;
            let had_failed = attempt.failed_by.iter().any(|number| number < ends);
            if *at_limit && !had_failed && !is_failed(&ending.status) {
                // The first on its side of the reset.
                let is_before = |ms: &u64| ms < reset_ms;
                let is_known = at_the_limit.iter().any(|ms| is_before(ms) == is_before(time_ms));
                attempt.evidence.extend((!is_known).then_some(Evidence::MemoryAtLimit));
                at_the_limit.push(*time_ms);
            }
        }
        for attempt in attempts {
            let counts = attempt.was_at_limit && attempt.has_failed;
            attempt.evidence.extend(counts.then_some(Evidence::MemoryAtLimit));
        }
    }

    /// Evidence without an attempt belongs to the environment.
    fn place_lines(
        &self,
        managed_instances: bool,
        lived_twice: &[RangeInclusive<u64>],
        hindsight: &mut Hindsight,
    ) {
        let Hindsight { attempts, stray } = hindsight;
        let mut environment = Attempt { id: "environment".to_owned(), ..Attempt::default() };
        for (time_ms, id, evidence) in &self.lines {
            let runs = attempts.iter().filter(|attempt| attempt.id == *id).count();
            if is_twice(lived_twice, *time_ms) && runs != 1 {
                let id = (!id.is_empty()).then(|| id.clone());
                stray.push(Stray { id, evidence: *evidence });
                continue;
            }
            let attempt = if managed_instances && id.is_empty() {
                // The first that failed from 1 s before the line to 10 s after it.
                let near = |attempt: &&mut Attempt| {
                    let window = time_ms - 1_000..=time_ms + 10_000;
                    attempt.has_failed && window.contains(&attempt.reported_ms)
                };
                attempts.iter_mut().filter(near).min_by_key(|attempt| attempt.reported_ms)
            } else if id.is_empty() {
                let begun = attempts.iter_mut().filter(|attempt| attempt.begun_ms <= *time_ms);
                begun.max_by_key(|attempt| attempt.begun_ms)
            } else {
                let is_of_line = |attempt: &&mut Attempt| {
                    attempt.id == *id && (attempt.begun_ms <= *time_ms || runs == 1)
                };
                attempts.iter_mut().rfind(is_of_line)
            };
            attempt.unwrap_or(&mut environment).evidence.push(*evidence);
        }
        attempts.push(environment);
    }
}

/// True for a time in one of the windows that were lived twice.
fn is_twice(lived_twice: &[RangeInclusive<u64>], time_ms: u64) -> bool {
    lived_twice.iter().any(|times| times.contains(&time_ms))
}

fn started((start_ms, id): &(u64, String)) -> Attempt {
    Attempt { id: id.clone(), start_ms: *start_ms, begun_ms: *start_ms, ..Attempt::default() }
}

fn is_failed(status: &str) -> bool {
    matches!(status, "error" | "failure" | "timeout")
}

/// The evidence in a text. Random environments print only a few texts.
fn evidence(record: &Value) -> Option<Evidence> {
    let text = record.to_string();
    if record["errorType"] == "MemoryError" && record.get("message").is_none() {
        Some(Evidence::Unhandled)
    } else if record.as_str().is_some_and(|line| line.starts_with("memory allocation of")) {
        Some(Evidence::Fatal)
    } else {
        text.contains("MemoryError").then_some(Evidence::Mention)
    }
}
