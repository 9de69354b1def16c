//! From a scenario to its detections, through the public flow of the core.

use oom_witness_core::{
    Counters, Detection, DetectionKind, Detector, Event, EventKind, Evidence, Scanner, Settings,
    ShutdownReason, Skipped, Witness, extensions, sizes::SNAPSHOT_SIZE,
};

use serde_json::{Value, json};

use crate::scenario::{EventScript, ScriptStep};

/// The result of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// The detections, in order.
    pub detections: Vec<Detection>,
    /// What the scanner skipped.
    pub skipped: Skipped,
    /// The detector's counters.
    pub counters: Counters,
}

impl RunResult {
    /// The detections as text, one a line: `A confirmed error_type,fatal`, or for a warning
    /// `A high_water 118/128`.
    #[must_use]
    pub fn lines(&self) -> String {
        let lines: Vec<String> = self.detections.iter().map(line).collect();
        lines.join("\n")
    }
}

/// Runs a scenario, each body in one piece.
#[must_use]
pub fn run(scenario: &EventScript, settings: Settings) -> RunResult {
    run_in_pieces(scenario, settings, usize::MAX)
}

/// Runs a scenario, each body in pieces of `size` bytes.
#[must_use]
pub fn run_in_pieces(scenario: &EventScript, settings: Settings, size: usize) -> RunResult {
    let mut witness = Witness::new(settings);
    let mut detections = Vec::new();
    let mut found = |detection: &Detection| detections.push(*detection);
    let mut body = Vec::new();
    for step in &scenario.steps {
        match step {
            ScriptStep::Event(event) => body.push(event.as_str()),
            ScriptStep::Kill(_)
            | ScriptStep::NextBody
            | ScriptStep::Restart
            | ScriptStep::Shutdown(_) => {
                send(&mut witness, &body, size, &mut found);
                body.clear();
            }
        }
        match step {
            ScriptStep::Shutdown(reason) => witness.shutdown(shutdown_reason(reason), &mut found),
            ScriptStep::Restart => {
                witness = Witness::with_detector(restart(witness.detector(), settings));
            }
            ScriptStep::Kill(time_ms) => witness.detector_mut().kernel_kill(*time_ms, &mut found),
            ScriptStep::Event(_) | ScriptStep::NextBody => {}
        }
    }
    send(&mut witness, &body, size, &mut found);
    RunResult { detections, skipped: witness.skipped(), counters: witness.detector().counters() }
}

/// A new detector that has only what the snapshot kept.
fn restart(detector: &Detector, settings: Settings) -> Detector {
    let mut snapshot = [0; SNAPSHOT_SIZE];
    let length = detector.snapshot(&mut snapshot);
    let mut restored = Detector::new(settings);
    // No time passes between the two.
    assert!(restored.restore(&snapshot[..length], 0), "its own snapshot");
    let mut again = [0; SNAPSHOT_SIZE];
    assert_eq!(restored.snapshot(&mut again), length);
    assert_eq!(snapshot, again, "a snapshot of what was restored is the same");
    restored
}

/// The evidence that the scanner finds in one function record, fed in pieces of `size` bytes.
#[must_use]
pub fn evidence_in_pieces(record: &Value, size: usize) -> Option<Evidence> {
    let time = "2026-11-22T07:34:59.678Z";
    let body = json!([{ "time": time, "type": "function", "record": record }]).to_string();
    let mut found = None;
    let mut on_event = |event: &Event| {
        if let EventKind::Function(line) = &event.kind {
            found = line.evidence;
        }
    };
    let mut scanner = Scanner::new();
    for piece in body.as_bytes().chunks(size.max(1)) {
        scanner.feed(piece, &mut on_event);
    }
    scanner.end_body(&mut on_event);
    found
}

fn send(witness: &mut Witness, events: &[&str], size: usize, found: &mut dyn FnMut(&Detection)) {
    let body = format!("[{}]", events.join(","));
    for piece in body.as_bytes().chunks(size) {
        witness.feed(piece, 0, found);
    }
    witness.end_body(0, found);
}

/// The reason of a SHUTDOWN event, as core reads it.
///
/// # Panics
/// If core does not read it as a SHUTDOWN event.
#[must_use]
pub fn shutdown_reason(text: &str) -> ShutdownReason {
    let body = format!(r#"{{"eventType":"SHUTDOWN","shutdownReason":"{text}"}}"#);
    match extensions::read_next(body.as_bytes()) {
        extensions::Next::Shutdown { reason, .. } => reason,
        next => panic!("no shutdown: {next:?}"),
    }
}

fn line(detection: &Detection) -> String {
    let subject = match &detection.subject {
        oom_witness_core::Subject::Environment => "environment",
        oom_witness_core::Subject::Init => "init",
        oom_witness_core::Subject::Invocation(id) => id.as_str(),
        oom_witness_core::Subject::Restore => "restore",
    };
    if detection.kind == DetectionKind::HighWater {
        let figure = |mb: Option<u32>| mb.map_or("-".to_owned(), |mb| mb.to_string());
        let (used, size) = (figure(detection.max_memory_used_mb), figure(detection.memory_size_mb));
        return format!("{subject} high_water {used}/{size}");
    }
    let evidence: Vec<&str> = detection.evidence.iter().map(|kind| kind.as_str()).collect();
    format!("{subject} {} {}", detection.confidence.as_str(), evidence.join(","))
}
