//! What a clock that is set back and tables that are full may not cost.

use super::*;
extern crate std;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::event::{LogLine, Phase, PhaseOutcome};
use crate::limits::{ATTEMPTS_ON_DEMAND_MAX, SNAPSHOT_ROWS_MAX};

fn id(name: &str) -> RequestId {
    RequestId::try_from(name).unwrap()
}

fn start(name: &str) -> EventKind {
    EventKind::Start { request_id: id(name) }
}

fn done(name: &str, status: Status) -> EventKind {
    EventKind::RuntimeDone { request_id: id(name), status, error_type: ErrorType::None }
}

fn line(name: Option<&str>, evidence: Evidence) -> EventKind {
    EventKind::Function(LogLine { request_id: name.map(id), evidence: Some(evidence) })
}

/// A detector and what it has found: request ids, or what else counted.
struct Watch {
    detector: Detector,
    found: Vec<String>,
}

impl Watch {
    fn new() -> Self {
        Self { detector: Detector::new(Settings::default()), found: Vec::new() }
    }

    fn observe(&mut self, time_ms: u64, kind: EventKind) {
        let event = Event { time_ms: Some(time_ms), kind };
        let Self { detector, found } = self;
        detector.observe(&event, 0, &mut |detection| found.push(name(detection)));
    }

    fn restart(&mut self) {
        let mut snapshot = [0; SNAPSHOT_SIZE];
        self.detector.snapshot(&mut snapshot);
        self.detector = Detector::new(Settings::default());
        assert!(self.detector.restore(&snapshot, 0));
    }

    /// All that was found by the end, in the order of names.
    fn end(mut self) -> Vec<String> {
        let Self { detector, found } = &mut self;
        detector.shutdown(ShutdownReason::Spindown, &mut |detection| found.push(name(detection)));
        self.found.sort();
        self.found
    }
}

fn name(detection: &Detection) -> String {
    match &detection.subject {
        Subject::Invocation(id) => id.as_str().to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_simplest_case() {
    let mut watch = Watch::new();
    watch.observe(10, start("a"));
    let error_type = ErrorType::OutOfMemory;
    let status = Status::Error;
    watch.observe(20, EventKind::RuntimeDone { request_id: id("a"), status, error_type });
    assert_eq!(watch.end(), ["a"]);
}

#[test]
fn an_init_belongs_to_the_next_start_also_when_the_clock_was_set_back() {
    let mut watch = Watch::new();
    let (initialization_type, phase) = (InitializationType::OnDemand, Phase::Init);
    watch.observe(5000, EventKind::InitStart { initialization_type, phase });
    let outcome = PhaseOutcome {
        initialization_type,
        phase,
        status: Status::Error,
        error_type: ErrorType::OutOfMemory,
    };
    watch.observe(5100, EventKind::InitReport(outcome));
    watch.observe(3000, start("a"));
    watch.observe(3100, line(Some("a"), Evidence::Unhandled));
    watch.observe(3200, done("a", Status::Error));
    // The init is not there any more to be another invocation's.
    watch.observe(6000, start("b"));
    watch.observe(6100, line(Some("b"), Evidence::Unhandled));
    assert_eq!(watch.end(), ["Init", "b"]);
}

#[test]
fn lines_that_bring_attempts_back_into_a_full_table_push_none_out_unseen() {
    let mut watch = Watch::new();
    let mut names = Vec::new();
    for late in ["late0", "late1", "late2"] {
        watch.observe(9000, start(late));
        watch.observe(9100, done(late, Status::Success));
        // Behind its end, and with a start to come that may be its own: it waits.
        watch.observe(90_000, line(Some(late), Evidence::Mention));
        names.push(late.to_string());
    }
    // The clock runs backwards: none of these is over by the start of the next.
    for number in 0..3 * ATTEMPTS_ON_DEMAND_MAX as u64 {
        let (time_ms, name) = (8000 - 100 * number, format!("many{number:02}"));
        watch.observe(time_ms, start(&name));
        watch.observe(time_ms + 1, line(Some(&name), Evidence::Mention));
        watch.observe(time_ms + 2, done(&name, Status::Success));
        names.push(name);
    }
    assert!(watch.detector.counters().evicted > 0);
    assert_eq!(watch.end(), names);
}

#[test]
fn all_lines_that_wait_survive_a_restart() {
    let mut watch = Watch::new();
    for number in 0..SNAPSHOT_ROWS_MAX {
        let name = format!("{number}");
        watch.observe(10, start(&name));
        watch.observe(20, done(&name, Status::Success));
        watch.observe(90_000, line(Some(&name), Evidence::Mention));
    }
    watch.restart();
    assert_eq!(watch.end().len(), SNAPSHOT_ROWS_MAX);
}

#[test]
fn what_a_snapshot_has_no_room_for_is_counted() {
    let mut watch = Watch::new();
    for number in 0..10 {
        watch.observe(number, start(&format!("{number}")));
    }
    watch.restart();
    assert_eq!(watch.detector.counters().evicted as usize, 10 - SNAPSHOT_ROWS_MAX);
    watch.restart();
    assert_eq!(watch.detector.counters().evicted as usize, 10 - SNAPSHOT_ROWS_MAX);
}
