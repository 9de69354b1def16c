//! A clock that is set back and full tables must not change a count.

use super::*;
extern crate std;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::scan::event::{LogLine, Phase, PhaseOutcome};
use crate::sizes::{ATTEMPTS_ON_DEMAND_MAX, SNAPSHOT_ROWS_MAX};

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

/// A detector, and what it has found: request ids, or the names of other subjects.
struct DetectorUnderTest {
    detector: Detector,
    found: Vec<String>,
}

impl DetectorUnderTest {
    fn new() -> Self {
        Self { detector: Detector::new(Settings::default()), found: Vec::new() }
    }

    fn observe(&mut self, time_ms: u64, kind: EventKind) {
        let event = Event { time_ms: Some(time_ms), kind };
        let Self { detector, found } = self;
        detector.observe(&event, 0, &mut |detection| found.push(name(detection)));
    }

    fn snapshot(&self) -> [u8; SNAPSHOT_SIZE] {
        let mut snapshot = [0; SNAPSHOT_SIZE];
        self.detector.snapshot(&mut snapshot);
        snapshot
    }

    fn restart(&mut self) {
        let snapshot = self.snapshot();
        self.restore(&snapshot, 0);
    }

    /// Another process begins at `now_ms`, with the snapshot.
    fn restore(&mut self, snapshot: &[u8], now_ms: u64) {
        self.detector = Detector::new(Settings::default());
        assert!(self.detector.restore(snapshot, now_ms));
    }

    fn kill_before_restart(&mut self, now_ms: u64) {
        let Self { detector, found } = self;
        detector.kernel_kill_before_restart(now_ms, &mut |detection| found.push(name(detection)));
    }

    fn quiet(&mut self, name: &str, time_ms: u64) {
        self.observe(time_ms, start(name));
        self.observe(time_ms + 50, done(name, Status::Success));
    }

    /// Everything that was found, sorted by name.
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
fn an_out_of_memory_error_type_counts() {
    let mut watch = DetectorUnderTest::new();
    watch.observe(10, start("a"));
    let error_type = ErrorType::OutOfMemory;
    let status = Status::Error;
    watch.observe(20, EventKind::RuntimeDone { request_id: id("a"), status, error_type });
    assert_eq!(watch.end(), ["a"]);
}

#[test]
fn an_init_belongs_to_the_next_start_also_when_the_clock_was_set_back() {
    let mut watch = DetectorUnderTest::new();
    let (initialization_type, phase) = (InitializationType::OnDemand, Phase::Init);
    let runtime = Runtime::UNKNOWN;
    watch.observe(5000, EventKind::InitStart { initialization_type, phase, runtime });
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
    // The init is gone, so no other invocation can take it over.
    watch.observe(6000, start("b"));
    watch.observe(6100, line(Some("b"), Evidence::Unhandled));
    assert_eq!(watch.end(), ["Init", "b"]);
}

#[test]
fn attempts_recalled_into_a_full_table_evict_none_uncounted() {
    let mut watch = DetectorUnderTest::new();
    let mut names = Vec::new();
    for late in ["late0", "late1", "late2"] {
        watch.observe(9000, start(late));
        watch.observe(9100, done(late, Status::Success));
        // The line is later than the end, and its own start may still come. It waits.
        watch.observe(90_000, line(Some(late), Evidence::Mention));
        names.push(late.to_string());
    }
    // The clock runs backwards: none of these ends before the start of the next.
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
    let mut watch = DetectorUnderTest::new();
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
fn attempts_without_room_in_a_snapshot_are_counted() {
    let mut watch = DetectorUnderTest::new();
    for number in 0..10 {
        watch.observe(number, start(&format!("{number}")));
    }
    watch.restart();
    assert_eq!(watch.detector.counters().evicted as usize, 10 - SNAPSHOT_ROWS_MAX);
    watch.restart();
    assert_eq!(watch.detector.counters().evicted as usize, 10 - SNAPSHOT_ROWS_MAX);
}

/// The snapshot that a journal holds: the one after the last change that a restart must not lose.
#[test]
fn quiet_invocations_change_nothing_that_must_be_kept() {
    let mut watch = DetectorUnderTest::new();
    watch.quiet("a", 100);
    let revision = watch.detector.revision();
    for number in 0..100 {
        watch.quiet(&format!("quiet{number}"), 200 + 100 * number);
    }
    assert_eq!(watch.detector.revision(), revision);
    for kind in [
        start("b"),
        line(Some("b"), Evidence::Mention),
        done("b", Status::Success),
        done("a", Status::Timeout),
        EventKind::Function(LogLine { request_id: None, evidence: Some(Evidence::Fatal) }),
    ] {
        let before = watch.detector.revision();
        watch.observe(90_000, kind.clone());
        let is_start = matches!(kind, EventKind::Start { .. });
        assert_eq!(watch.detector.revision() == before, is_start, "{kind:?}");
    }
}

/// The process is killed after quiet invocations that it did not keep. A late line of one of them
/// must not count for an invocation that was kept before, or that comes later.
#[test]
fn a_line_from_the_gap_before_a_restart_finds_no_wrong_attempt() {
    let mut watch = DetectorUnderTest::new();
    watch.quiet("kept", 100);
    watch.observe(160, line(Some("kept"), Evidence::Mention));
    watch.quiet("second", 200);
    let kept = watch.snapshot();
    watch.quiet("forgotten", 300);
    // The process is killed. Lambda starts another one in the next invocation.
    watch.restore(&kept, 500);
    watch.observe(320, line(None, Evidence::Fatal));
    watch.observe(510, start("after"));
    watch.observe(520, line(Some("after"), Evidence::Unhandled));
    watch.observe(600, done("after", Status::Error));
    assert_eq!(watch.end(), ["Environment", "after", "kept"]);
}

/// The same line, and its invocation is delivered again.
#[test]
fn a_line_from_the_gap_finds_its_attempt_when_it_is_delivered_again() {
    let mut watch = DetectorUnderTest::new();
    watch.quiet("kept", 100);
    let kept = watch.snapshot();
    watch.restore(&kept, 500);
    watch.observe(320, line(None, Evidence::Fatal));
    watch.observe(400, done("killed", Status::Error));
    assert_eq!(watch.found, ["killed"]);
    watch.observe(510, start("after"));
    assert_eq!(watch.end(), ["killed"]);
}

/// The counter had risen when the new process began. The invocation that failed last was killed,
/// not an earlier one and not the next one.
#[test]
fn a_kill_before_a_restart_belongs_to_the_last_failure() {
    for is_reported in [false, true] {
        let mut watch = DetectorUnderTest::new();
        watch.quiet("kept", 100);
        let kept = watch.snapshot();
        watch.restore(&kept, 500);
        watch.kill_before_restart(500);
        watch.observe(300, done("quiet", Status::Success));
        if is_reported {
            watch.observe(400, done("killed", Status::Error));
        }
        // Its start may be older than the process, which can begin during the invocation.
        watch.observe(490, start("after"));
        watch.observe(700, done("after", Status::Error));
        assert_eq!(watch.end(), [if is_reported { "killed" } else { "Environment" }]);
    }
}

/// Each later report repeats the environment's high-water mark.
#[test]
fn one_touch_of_the_limit_is_one_suspicion() {
    let report = |name: &str, status| {
        EventKind::Report(Report {
            request_id: id(name),
            status,
            error_type: ErrorType::None,
            memory_size_mb: Some(128),
            max_memory_used_mb: Some(128),
        })
    };
    let mut watch = DetectorUnderTest::new();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let time_ms = 100 * number as u64;
        watch.quiet(name, time_ms);
        watch.observe(time_ms + 60, report(name, Status::Success));
    }
    assert_eq!(watch.found, ["a"]);
    // On a failure it remains evidence. After it the environment is a new one.
    watch.observe(400, start("failed"));
    watch.observe(460, report("failed", Status::Timeout));
    assert_eq!(watch.found, ["a", "failed"]);
    let revision = watch.detector.revision();
    watch.observe(450, report("late", Status::Success));
    assert_eq!(watch.detector.revision(), revision, "it is from before the reset");
    watch.quiet("d", 500);
    watch.observe(560, report("d", Status::Success));
    watch.quiet("e", 600);
    watch.observe(660, report("e", Status::Success));
    assert_eq!(watch.found, ["a", "failed", "d"]);
    // The mark survives a restart, which resets the environment too.
    let kept = watch.snapshot();
    watch.restore(&kept, 1000);
    watch.observe(960, report("later", Status::Success));
    assert_eq!(watch.found, ["a", "failed", "d"]);
    watch.quiet("f", 1100);
    watch.observe(1160, report("f", Status::Success));
    assert_eq!(watch.end(), ["a", "d", "f", "failed"]);
}

/// An invocation whose failure is learned only after its report.
#[test]
fn a_late_failure_makes_the_limit_evidence() {
    let report = EventKind::Report(Report {
        request_id: id("b"),
        status: Status::Unknown,
        error_type: ErrorType::None,
        memory_size_mb: None,
        max_memory_used_mb: Some(128),
    });
    let mut watch = DetectorUnderTest::new();
    watch.detector = Detector::new(Settings { memory_size_mb: Some(128), ..Settings::default() });
    watch.detector.mark.rise(1);
    watch.observe(100, start("b"));
    watch.observe(200, report);
    assert!(watch.found.is_empty());
    watch.observe(190, done("b", Status::Timeout));
    assert_eq!(watch.end(), ["b"]);
}
