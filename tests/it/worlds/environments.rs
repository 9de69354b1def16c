//! Random environments: what happens, how it is delivered, and by which clock.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use fastrand::Rng;
use oom_witness_tests::{EventScript, ScriptStep};

/// One thing that happens, and its true time. `words` are a line of the scenario language without
/// the time.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    at_ms: u64,
    words: String,
}

impl Happening {
    fn new(at_ms: u64, words: impl Into<String>) -> Self {
        Self { at_ms, words: words.into() }
    }

    fn is(&self, verb: &str) -> bool {
        self.words.split(' ').next() == Some(verb)
    }

    /// True for a platform event, which keeps its place among the others.
    fn is_platform(&self) -> bool {
        !["json", "kill", "log", "report"].into_iter().any(|verb| self.is(verb))
    }
}

/// A clock that is set now and then: when, and by how many milliseconds.
#[derive(Default)]
pub(super) struct Clock {
    jumps: Vec<(u64, i64)>,
}

impl Clock {
    fn shows(&self, at_ms: u64) -> u64 {
        let since = self.jumps.iter().filter(|(jump_ms, _)| *jump_ms <= at_ms);
        at_ms.saturating_add_signed(since.map(|(_, by_ms)| by_ms).sum())
    }

    /// The times since the epoch that it showed more than once. Each range begins one invocation
    /// earlier and ends at the first start after it.
    pub(super) fn ambiguous_times(&self, happenings: &[Happening]) -> Vec<RangeInclusive<u64>> {
        let back = self.jumps.iter().filter(|(_, by_ms)| *by_ms < 0);
        let times = |(jump_ms, _): &(u64, i64)| {
            let (from, to) = (self.shows(*jump_ms), self.shows(jump_ms - 1));
            let starts = happenings.iter().filter(|one| one.is("start") && one.at_ms > *jump_ms);
            let next = starts.map(|one| self.shows(one.at_ms)).find(|shown| *shown > to);
            EventScript::time_ms(from - NEAR_MS)..=next.map_or(u64::MAX, EventScript::time_ms)
        };
        back.map(times).collect()
    }

    fn steps(&self, happenings: &[Happening]) -> Vec<ScriptStep> {
        let line =
            |happening: &Happening| format!("{} {}", self.shows(happening.at_ms), happening.words);
        EventScript::parse(&happenings.iter().map(line).collect::<Vec<_>>().join("\n")).steps
    }

    /// True if two things that happen to one attempt at different times are never shown with the
    /// same time.
    fn tells_apart(&self, happenings: &[Happening]) -> bool {
        let subject = |happening: &Happening| {
            happening.words.split(' ').take(2).collect::<Vec<_>>().join(" ")
        };
        let truly: BTreeSet<_> = happenings.iter().map(|one| (one.at_ms, subject(one))).collect();
        let shown: BTreeSet<_> =
            happenings.iter().map(|one| (self.shows(one.at_ms), subject(one))).collect();
        truly.len() == shown.len()
    }
}

/// Longer than an invocation with its init and its report.
const NEAR_MS: u64 = 1000;

const FATAL: &str = "log memory allocation of 5 bytes failed";
const MENTION: &str = "log caught a MemoryError";

/// A line with a request id: a mention, or a runtime's own record.
fn line_of(rng: &mut Rng, id: &str) -> String {
    if rng.bool() {
        format!(r#"json {{"requestId":"{id}","message":"a MemoryError","logger":"x"}}"#)
    } else {
        format!(
            r#"json {{"requestId":"{id}","level":"ERROR","errorType":"MemoryError","errorMessage":"","stackTrace":[]}}"#
        )
    }
}

/// One invocation's events in the order of their times.
fn invocation(rng: &mut Rng, number: usize, from_ms: u64) -> Vec<Happening> {
    // Lambda uses the same id when it retries.
    let id = format!("r{}", if rng.u8(..) < 30 { number.saturating_sub(1) } else { number });
    let start = from_ms + 20;
    let end = start + rng.u64(10..500);
    let mut events = Vec::new();
    if rng.u8(..) < 40 {
        let result = if rng.u8(..) < 60 { "error Runtime.OutOfMemory" } else { "success" };
        events.push(Happening::new(from_ms, "initStart on-demand invoke"));
        events.push(Happening::new(from_ms + 5, format!("initDone on-demand invoke {result}")));
        events.push(Happening::new(from_ms + 6, format!("initReport on-demand invoke {result}")));
    }
    events.push(Happening::new(start, format!("start {id}")));
    for _ in 0..rng.usize(..3) {
        // Also after the end: a line may arrive before or after the runtime's end.
        let at = rng.u64(start..end + 8);
        let words = match rng.u8(..5) {
            0 => FATAL.to_owned(),
            1 => MENTION.to_owned(),
            2 | 3 => line_of(rng, &id),
            _ => "kill".to_owned(),
        };
        events.push(Happening::new(at, words));
    }
    let status = ["success", "success", "error", "timeout", "failure"][rng.usize(..5)];
    let error = if status == "error" && rng.bool() { " Runtime.OutOfMemory" } else { "" };
    events.push(Happening::new(end, format!("done {id} {status}{error}")));
    if rng.u8(..) < 230 {
        let used = [60, 127, 128][rng.usize(..3)];
        events.push(Happening::new(end + 9, format!("report {id} {status} {used}/128{error}")));
    }
    events
}

/// Invocations, one after another.
pub(super) fn random_happenings(rng: &mut Rng) -> Vec<Happening> {
    let mut happenings = Vec::new();
    for number in 0..rng.usize(2..8) {
        happenings.extend(invocation(rng, number, 10_000 + 1000 * number as u64));
    }
    happenings
}

/// Delivers what happens: late, repeated, in batches, across restarts, with a clock's times.
pub(super) fn deliver(
    rng: &mut Rng,
    mut happenings: Vec<Happening>,
    clock: &Clock,
) -> Vec<ScriptStep> {
    for _ in 0..rng.usize(..6) {
        let from = rng.usize(..happenings.len());
        delay(&mut happenings, from, rng.usize(..6), clock);
    }
    for _ in 0..rng.usize(..4) {
        let from = rng.usize(..happenings.len());
        if !happenings[from].is("kill") {
            let to = rng.usize(from..=happenings.len().min(from + 6));
            happenings.insert(to, happenings[from].clone());
        }
    }
    let mut steps = clock.steps(&happenings);
    for _ in 0..rng.usize(..4) {
        let at = rng.usize(..=steps.len());
        steps.insert(at, if rng.bool() { ScriptStep::NextBody } else { ScriptStep::Restart });
    }
    steps.push(ScriptStep::Shutdown("spindown".to_owned()));
    steps
}

/// Delivers something later by up to `places`. What happened within 0.4 s may overtake a line or a
/// kill. Anything but a report may overtake a report. Other platform events keep their order. No
/// report with an earlier time overtakes a start: it would be the report of another attempt.
fn delay(happenings: &mut [Happening], from: usize, places: usize, clock: &Clock) {
    for at in from..(from + places).min(happenings.len() - 1) {
        let (this, next) = (&happenings[at], &happenings[at + 1]);
        let is_report = this.is("report");
        let in_order = this.is_platform() && next.is_platform() || is_report && next.is("report");
        let is_report_of_another =
            this.is("start") && clock.shows(this.at_ms) > clock.shows(next.at_ms);
        if in_order || is_report_of_another || !is_report && this.at_ms.abs_diff(next.at_ms) > 400 {
            return;
        }
        happenings.swap(at, at + 1);
    }
}

/// A clock that is set once or twice meanwhile, as after a freeze or by a time server.
pub(super) fn jumping_clock(rng: &mut Rng, happenings: &[Happening]) -> Clock {
    loop {
        let mut jumps: Vec<(u64, i64)> = Vec::new();
        for _ in 0..rng.usize(1..3) {
            let near = &happenings[rng.usize(..happenings.len())];
            let by_ms = if rng.bool() { rng.i64(1..3_600_000) } else { -rng.i64(1..3000) };
            jumps.push((near.at_ms + rng.u64(..3), by_ms));
        }
        let clock = Clock { jumps };
        if clock.tells_apart(happenings) {
            return clock;
        }
    }
}

/// More invocations on demand than the tables hold, with late reports and late lines with an id.
pub(super) fn random_overflow(rng: &mut Rng) -> Vec<ScriptStep> {
    let mut places: Vec<(usize, Happening)> = Vec::new();
    let late = rng.usize(1..600);
    for number in 0..rng.usize(10..200) {
        let id = format!("r{number}");
        let start = 10_000 + 1000 * number as u64;
        let end = start + rng.u64(10..500);
        let place = places.len();
        let status = ["success", "success", "success", "error"][rng.usize(..4)];
        places.push((place, Happening::new(start, format!("start {id}"))));
        if rng.u8(..) < 40 {
            let line = if rng.bool() { FATAL } else { MENTION };
            places.push((place + 1, Happening::new(rng.u64(start..end), line)));
        }
        if rng.u8(..) < 40 {
            let place = place + 1 + if rng.bool() { rng.usize(..late) } else { 0 };
            places.push((place, Happening::new(rng.u64(start..end), line_of(rng, &id))));
        }
        places.push((place + 2, Happening::new(end, format!("done {id} {status}"))));
        if rng.u8(..) < 200 {
            let place = place + 3 + if rng.bool() { rng.usize(..late) } else { 0 };
            let used = if rng.u8(..) < 50 { 128 } else { 60 };
            let report = format!("report {id} {status} {used}/128");
            places.push((place, Happening::new(end + 9, report)));
        }
    }
    places.sort_by_key(|(place, _)| *place);
    let happenings: Vec<Happening> = places.into_iter().map(|(_, happening)| happening).collect();
    with_restarts(rng, Clock::default().steps(&happenings))
}

/// Up to 60 invocations on Managed Instances, of which many are open at once. Reports have no
/// figures. There are lines with ids at any place, and lines without ids and kills near a failure
/// or far from all.
pub(super) fn random_managed_steps(rng: &mut Rng) -> Vec<ScriptStep> {
    let count = rng.u64(1..60);
    let mut happenings = overlapping(rng, count, 300_000);
    for _ in 0..rng.usize(..6) {
        let at = rng.u64(12_000..360_000);
        let kinds = [FATAL, MENTION, "kill"];
        happenings.push(Happening::new(at, kinds[rng.usize(..kinds.len())]));
    }
    happenings.sort_by_key(|happening| happening.at_ms);
    let mut steps = Clock::default().steps(&happenings);
    for _ in 0..rng.usize(..4) {
        let at = rng.usize(..steps.len());
        steps.insert(rng.usize(at..=steps.len()), steps[at].clone());
    }
    for _ in 0..rng.usize(..6) {
        steps.insert(rng.usize(..=steps.len()), ScriptStep::NextBody);
    }
    steps.push(ScriptStep::Shutdown("spindown".to_owned()));
    steps
}

/// `count` invocations that start within `within_ms` and run for up to a minute.
fn overlapping(rng: &mut Rng, count: u64, within_ms: u64) -> Vec<Happening> {
    let mut happenings = Vec::new();
    for number in 0..count {
        let start = rng.u64(1000..within_ms);
        // No two end in the same millisecond, so that one of them failed first.
        let end = (start + rng.u64(1..60_000)).next_multiple_of(512) + number;
        let id = format!("r{number}");
        happenings.push(Happening::new(start, format!("start {id}")));
        let status =
            ["success", "success", "success", "error", "failure", "timeout"][rng.usize(..6)];
        let error = if status == "error" && rng.bool() { " Runtime.OutOfMemory" } else { "" };
        happenings.push(Happening::new(end, format!("report {id} {status} -{error}")));
        if rng.u8(..) < 60 {
            happenings.push(Happening::new(rng.u64(start..end), line_of(rng, &id)));
        }
    }
    happenings
}

/// More invocations at once on Managed Instances than the table holds. Some lines come late.
pub(super) fn random_managed_overflow(rng: &mut Rng) -> Vec<ScriptStep> {
    let count = rng.u64(60..400);
    let mut happenings = overlapping(rng, count, 60_000);
    happenings.sort_by_key(|happening| {
        let is_late = happening.is("json") && happening.at_ms % 2 > 0;
        happening.at_ms + if is_late { happening.at_ms % 60_000 } else { 0 }
    });
    with_restarts(rng, Clock::default().steps(&happenings))
}

fn with_restarts(rng: &mut Rng, mut steps: Vec<ScriptStep>) -> Vec<ScriptStep> {
    for _ in 0..rng.usize(..3) {
        steps.insert(rng.usize(..=steps.len()), ScriptStep::Restart);
    }
    steps.push(ScriptStep::Shutdown("spindown".to_owned()));
    steps
}
