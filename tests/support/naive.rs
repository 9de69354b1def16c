//! What must be counted, worked out with hindsight: the detector's oracle.
//!
//! It sees a whole life at once, sorts it by time and asks of each attempt what was delivered about
//! it. Written to be read, with everything that the core may not use: maps, vectors, serde_json.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::scenario::Step;

/// How often each attempt must be counted: the request ids of what counts, one for each attempt;
/// `environment` for what belongs to none. On Managed Instances invocations overlap.
#[must_use]
pub fn expected_counts(
    steps: &[Step],
    count_suspected: bool,
    managed_instances: bool,
) -> BTreeMap<String, usize> {
    let mut life = Life::default();
    for step in steps {
        match step {
            Step::Event(event) => {
                life.take(&serde_json::from_str(event).expect("an event of a scenario"));
            }
            Step::Kill(time_ms) => {
                life.lines.insert((*time_ms, String::new(), Words::Kill));
            }
            Step::NextBody | Step::Restart | Step::Shutdown(_) => {}
        }
    }
    let mut counts = BTreeMap::new();
    for attempt in life.attempts(managed_instances) {
        if attempt.is_confirmed() || count_suspected && attempt.has_evidence() {
            *counts.entry(attempt.id.clone()).or_default() += 1;
        }
    }
    counts
}

/// Everything that was delivered, each thing once.
#[derive(Default)]
struct Life {
    starts: BTreeSet<(u64, String)>,
    ends: BTreeSet<(u64, String, Ending)>,
    reports: BTreeSet<(u64, String, Ending, bool)>,
    lines: BTreeSet<(u64, String, Words)>,
    /// Inits and what they ended with.
    inits: BTreeSet<(u64, bool)>,
}

/// A status and whether the error was out of memory.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Ending {
    status: String,
    out_of_memory: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Words {
    Fatal,
    Kill,
    Mention,
    Unhandled,
}

#[derive(Debug, Default)]
struct Attempt {
    id: String,
    start_ms: u64,
    begun_ms: u64,
    failed: bool,
    error_type: bool,
    at_limit: bool,
    words: BTreeSet<Words>,
    reported: bool,
    reported_ms: u64,
}

impl Attempt {
    fn has_evidence(&self) -> bool {
        self.error_type || self.at_limit || !self.words.is_empty()
    }

    fn is_confirmed(&self) -> bool {
        let says = |words| self.words.contains(&words);
        let dying = says(Words::Fatal) || says(Words::Kill);
        let two_hints = self.at_limit && says(Words::Mention);
        self.error_type || says(Words::Unhandled) || self.failed && (dying || two_hints)
    }
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
                self.starts.insert((time_ms, id));
            }
            "platform.runtimeDone" => {
                self.ends.insert((time_ms, id, ending));
            }
            "platform.report" => {
                let metrics = &record["metrics"];
                let figure = |name: &str| metrics[name].as_f64().unwrap_or(0.0);
                let at_limit = figure("memorySizeMB") >= 1.0
                    && figure("maxMemoryUsedMB") >= figure("memorySizeMB");
                self.reports.insert((time_ms, id, ending, at_limit));
            }
            "platform.initStart" | "platform.initRuntimeDone" | "platform.initReport" => {
                self.inits.insert((time_ms, ending.out_of_memory));
            }
            "function" => {
                if let Some(words) = words(record) {
                    self.lines.insert((time_ms, id, words));
                }
            }
            _ => {}
        }
    }

    fn attempts(&self, managed_instances: bool) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = self.starts.iter().map(started).collect();
        for (time_ms, out_of_memory) in &self.inits {
            // An on-demand init is part of the next invocation to start.
            if let Some(next) = attempts.iter_mut().find(|attempt| attempt.start_ms >= *time_ms) {
                next.begun_ms = next.begun_ms.min(*time_ms);
                next.error_type |= out_of_memory;
            }
        }
        for (time_ms, id, ending) in &self.ends {
            let of_id = |attempt: &&mut Attempt| attempt.id == *id && attempt.start_ms <= *time_ms;
            let attempt = attempts.iter_mut().rfind(of_id).expect("an end has a start");
            attempt.failed |= is_failed(&ending.status);
            attempt.error_type |= ending.out_of_memory;
        }
        for (time_ms, id, ending, at_limit) in &self.reports {
            let waiting = |attempt: &&mut Attempt| attempt.id == *id && !attempt.reported;
            let attempt = attempts.iter_mut().find(waiting).expect("a report has a start");
            attempt.reported = true;
            attempt.reported_ms = *time_ms;
            attempt.failed |= is_failed(&ending.status);
            attempt.error_type |= ending.out_of_memory;
            attempt.at_limit |= at_limit;
        }
        let environment = Attempt { id: "environment".to_owned(), ..Attempt::default() };
        let mut homeless = environment;
        for (time_ms, id, words) in &self.lines {
            if managed_instances && id.is_empty() {
                // The first that failed from 1 s before the line to 10 s after it.
                let near = |attempt: &&mut Attempt| {
                    let window = time_ms - 1_000..=time_ms + 10_000;
                    attempt.failed && window.contains(&attempt.reported_ms)
                };
                let failed = attempts.iter_mut().filter(near);
                let first = failed.min_by_key(|attempt| attempt.reported_ms);
                first.unwrap_or(&mut homeless).words.insert(*words);
                continue;
            }
            let is_its = |attempt: &&mut Attempt| {
                attempt.begun_ms <= *time_ms && (id.is_empty() || attempt.id == *id)
            };
            let attempt = attempts.iter_mut().rfind(is_its).expect("a line has an attempt");
            attempt.words.insert(*words);
        }
        attempts.push(homeless);
        attempts
    }
}

fn started((start_ms, id): &(u64, String)) -> Attempt {
    Attempt { id: id.clone(), start_ms: *start_ms, begun_ms: *start_ms, ..Attempt::default() }
}

fn is_failed(status: &str) -> bool {
    matches!(status, "error" | "failure" | "timeout")
}

/// The few texts that random worlds print.
fn words(record: &Value) -> Option<Words> {
    let text = record.to_string();
    if record["errorType"] == "MemoryError" && record.get("message").is_none() {
        Some(Words::Unhandled)
    } else if record.as_str().is_some_and(|line| line.starts_with("memory allocation of")) {
        Some(Words::Fatal)
    } else {
        text.contains("MemoryError").then_some(Words::Mention)
    }
}
