//! Everything that was delivered to the extension, and the attempt that each piece belongs to.

use std::ops::RangeInclusive;

use oom_witness_core::Evidence;
use serde_json::Value;

use super::{Oracle, OracleAttempt, StrayEvidence};

/// Everything that was delivered, in the order of its first delivery.
#[derive(Default)]
pub(super) struct DeliveredEvents {
    /// From which share of the limit the memory gives a warning.
    high_water_percent: Option<u8>,
    starts: DistinctList<(u64, String)>,
    ends: DistinctList<(u64, String, DeliveredEnd)>,
    /// The number of starts that were known at each end, and at each report.
    starts_before_end: Vec<usize>,
    starts_before_report: Vec<usize>,
    reports: DistinctList<(u64, String, DeliveredEnd, DeliveredMark)>,
    /// For each report: how many ends were known, and the time of the latest failure, which reset
    /// the environment.
    known_before_report: Vec<(usize, u64)>,
    reset_ms: u64,
    /// Each delivery of a line. A repeated one may be another line.
    lines: Vec<(u64, String, Evidence)>,
    /// The times of inits, and whether they ran out of memory.
    inits: DistinctList<(u64, bool)>,
}

/// A list in which no thing stands twice.
struct DistinctList<T>(Vec<T>);

impl<T> Default for DistinctList<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> DistinctList<T> {
    /// True if the thing is new.
    fn add(&mut self, thing: T) -> bool {
        let is_new = !self.0.contains(&thing);
        if is_new {
            self.0.push(thing);
        }
        is_new
    }
}

/// What a report says about the memory.
#[derive(Clone, Copy, PartialEq)]
struct DeliveredMark {
    is_at_limit: bool,
    /// It has reached the share that gives a warning.
    is_near_limit: bool,
}

/// A status, and whether the error was out of memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DeliveredEnd {
    pub(super) status: String,
    pub(super) out_of_memory: bool,
}

impl DeliveredEvents {
    pub(super) fn new(high_water_percent: Option<u8>) -> Self {
        Self { high_water_percent, ..Self::default() }
    }

    pub(super) fn add_kill(&mut self, time_ms: u64) {
        self.lines.push((time_ms, String::new(), Evidence::KernelKill));
    }

    pub(super) fn add(&mut self, event: &Value) {
        let time: jiff::Timestamp =
            event["time"].as_str().unwrap_or_default().parse().expect("a time");
        let time_ms = u64::try_from(time.as_millisecond()).expect("a time after 1970");
        let record = &event["record"];
        let id = record["requestId"].as_str().unwrap_or_default().to_owned();
        let end = DeliveredEnd {
            status: record["status"].as_str().unwrap_or_default().to_owned(),
            out_of_memory: record["errorType"] == "Runtime.OutOfMemory",
        };
        match event["type"].as_str().unwrap_or_default() {
            "platform.start" => {
                self.starts.add((time_ms, id));
            }
            "platform.runtimeDone" => {
                self.add_failure(time_ms, &end);
                let is_new = self.ends.add((time_ms, id, end));
                self.starts_before_end.extend(is_new.then_some(self.starts.0.len()));
            }
            "platform.report" => {
                let metrics = &record["metrics"];
                let figure = |name: &str| metrics[name].as_f64().unwrap_or(0.0);
                let (used, size) = (figure("maxMemoryUsedMB"), figure("memorySizeMB"));
                let reaches = |percent: f64| size >= 1.0 && used * 100.0 >= size * percent;
                let mark = DeliveredMark {
                    is_at_limit: reaches(100.0),
                    is_near_limit: self.high_water_percent.is_some_and(|one| reaches(one.into())),
                };
                self.add_failure(time_ms, &end);
                let is_new = self.reports.add((time_ms, id, end, mark));
                self.starts_before_report.extend(is_new.then_some(self.starts.0.len()));
                let known = (self.ends.0.len(), self.reset_ms);
                self.known_before_report.extend(is_new.then_some(known));
            }
            "platform.initStart" | "platform.initRuntimeDone" | "platform.initReport" => {
                self.inits.add((time_ms, end.out_of_memory));
            }
            "function" => {
                if let Some(evidence) = evidence(record) {
                    self.lines.push((time_ms, id, evidence));
                }
            }
            _ => {}
        }
    }

    fn add_failure(&mut self, time_ms: u64, end: &DeliveredEnd) {
        if is_failed(&end.status) {
            self.reset_ms = self.reset_ms.max(time_ms);
        }
    }

    /// Assigns everything to its attempt.
    pub(super) fn assign(
        self,
        managed_instances: bool,
        ambiguous_times: &[RangeInclusive<u64>],
    ) -> Oracle {
        let attempts = self.starts.0.iter().map(attempt_of).collect();
        let mut oracle = Oracle { attempts, stray: Vec::new(), high_water: Vec::new() };
        self.place_inits(ambiguous_times, &mut oracle);
        self.place_ends(&mut oracle.attempts);
        self.place_reports(&mut oracle);
        self.place_lines(managed_instances, ambiguous_times, &mut oracle);
        oracle
    }

    /// An on-demand init is part of the next invocation to start.
    fn place_inits(&self, ambiguous_times: &[RangeInclusive<u64>], oracle: &mut Oracle) {
        let Oracle { attempts, stray, .. } = oracle;
        for (time_ms, out_of_memory) in &self.inits.0 {
            let next = attempts.iter_mut().find(|attempt| attempt.start_ms >= *time_ms);
            if is_ambiguous(ambiguous_times, *time_ms) {
                if *out_of_memory {
                    stray.push(StrayEvidence { id: None, evidence: Evidence::ErrorType });
                }
            } else if let Some(next) = next {
                next.begin_ms = next.begin_ms.min(*time_ms);
                next.evidence.extend(out_of_memory.then_some(Evidence::ErrorType));
            }
        }
    }

    fn place_ends(&self, attempts: &mut [OracleAttempt]) {
        let ends = self.ends.0.iter().zip(&self.starts_before_end).enumerate();
        for (number, ((time_ms, id, end), known)) in ends {
            let of_id = |attempt: &&mut OracleAttempt| attempt.id == *id;
            let attempt = attempts[..*known]
                .iter_mut()
                .rfind(of_id)
                .expect("an end whose start was delivered");
            attempt.add_end(*time_ms, end);
            attempt.failed_ends.extend(is_failed(&end.status).then_some(number));
        }
    }

    fn place_reports(&self, oracle: &mut Oracle) {
        let Oracle { attempts, high_water, .. } = oracle;
        // Times of reports at or near the limit whose invocations were not known to have failed.
        let mut at_the_limit: Vec<u64> = Vec::new();
        let mut near_the_limit: Vec<u64> = Vec::new();
        let reports = self.reports.0.iter().zip(&self.starts_before_report);
        for ((report, known), (ends, reset_ms)) in reports.zip(&self.known_before_report) {
            let (time_ms, id, end, mark) = report;
            // The oldest without a report. Those that had started by then come first.
            let waiting = |attempt: &OracleAttempt| attempt.id == *id && !attempt.is_reported;
            let has_started =
                |attempt: &OracleAttempt| waiting(attempt) && attempt.start_ms <= *time_ms;
            let at = attempts[..*known].iter().position(has_started);
            let at = at.or_else(|| attempts.iter().position(waiting));
            let attempt = &mut attempts[at.expect("a report whose start was delivered")];
            attempt.is_reported = true;
            attempt.add_end(*time_ms, end);
            attempt.was_at_limit |= mark.is_at_limit;
            let has_failed_before = attempt.failed_ends.iter().any(|number| number < ends);
            if has_failed_before || is_failed(&end.status) {
                continue;
            }
            // It matters if it is the first one before, or after, the reset.
            let is_before = |ms: &u64| ms < reset_ms;
            let is_new =
                |earlier: &[u64]| !earlier.iter().any(|ms| is_before(ms) == is_before(time_ms));
            if mark.is_at_limit {
                attempt.evidence.extend(is_new(&at_the_limit).then_some(Evidence::MemoryAtLimit));
                at_the_limit.push(*time_ms);
            }
            if mark.is_near_limit {
                high_water.extend(is_new(&near_the_limit).then(|| id.clone()));
                near_the_limit.push(*time_ms);
            }
        }
        for attempt in attempts {
            let counts = attempt.was_at_limit && attempt.has_failed;
            attempt.evidence.extend(counts.then_some(Evidence::MemoryAtLimit));
        }
    }

    /// A line without an attempt belongs to the environment.
    fn place_lines(
        &self,
        managed_instances: bool,
        ambiguous_times: &[RangeInclusive<u64>],
        oracle: &mut Oracle,
    ) {
        let Oracle { attempts, stray, .. } = oracle;
        let mut environment =
            OracleAttempt { id: "environment".to_owned(), ..OracleAttempt::default() };
        for (time_ms, id, evidence) in &self.lines {
            let runs = attempts.iter().filter(|attempt| attempt.id == *id).count();
            if is_ambiguous(ambiguous_times, *time_ms) && runs != 1 {
                let id = (!id.is_empty()).then(|| id.clone());
                stray.push(StrayEvidence { id, evidence: *evidence });
                continue;
            }
            let attempt = if managed_instances && id.is_empty() {
                // The first that failed from 1 s before the line to 10 s after it.
                let near = |attempt: &&mut OracleAttempt| {
                    let window = time_ms - 1_000..=time_ms + 10_000;
                    attempt.has_failed && window.contains(&attempt.reported_ms)
                };
                attempts.iter_mut().filter(near).min_by_key(|attempt| attempt.reported_ms)
            } else if id.is_empty() {
                let started = attempts.iter_mut().filter(|attempt| attempt.begin_ms <= *time_ms);
                started.max_by_key(|attempt| attempt.begin_ms)
            } else {
                let is_of_line = |attempt: &&mut OracleAttempt| {
                    attempt.id == *id && (attempt.begin_ms <= *time_ms || runs == 1)
                };
                attempts.iter_mut().rfind(is_of_line)
            };
            attempt.unwrap_or(&mut environment).evidence.push(*evidence);
        }
        attempts.push(environment);
    }
}

/// True for a time that the clock showed twice.
fn is_ambiguous(ambiguous_times: &[RangeInclusive<u64>], time_ms: u64) -> bool {
    ambiguous_times.iter().any(|times| times.contains(&time_ms))
}

fn attempt_of((start_ms, id): &(u64, String)) -> OracleAttempt {
    OracleAttempt {
        id: id.clone(),
        start_ms: *start_ms,
        begin_ms: *start_ms,
        ..OracleAttempt::default()
    }
}

pub(super) fn is_failed(status: &str) -> bool {
    matches!(status, "error" | "failure" | "timeout")
}

/// The evidence in a record. Random environments print only a few texts.
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
