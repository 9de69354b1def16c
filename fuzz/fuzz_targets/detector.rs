//! The detector: any bodies and restarts, then SHUTDOWN, give no panic, and at most one detection
//! for each event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_core::sizes::SNAPSHOT_SIZE;
use oom_witness_core::{Detector, Event, EventKind, Scanner, Settings, ShutdownReason};

fuzz_target!(|bodies: Vec<&[u8]>| {
    let mut scanner = Scanner::new();
    let mut detector = Detector::new(Settings::default());
    let mut detections = 0;
    let mut events = 0;
    for (index, body) in bodies.iter().enumerate() {
        let mut on_event = |event: &Event| {
            events += usize::from(!matches!(event.kind, EventKind::InitStart { .. }));
            detector.observe(event, index as u64, &mut |_| detections += 1);
        };
        scanner.feed(body, &mut on_event);
        scanner.end_body(&mut on_event);
        if body.len() % 5 == 0 {
            let mut snapshot = [0; SNAPSHOT_SIZE];
            detector.snapshot(&mut snapshot);
            detector = Detector::new(Settings::default());
            assert!(detector.restore(&snapshot, index as u64), "its own snapshot is refused");
        }
    }
    detector.shutdown(ShutdownReason::Failure, &mut |_| detections += 1);
    assert!(detections <= events, "{detections} detections of {events} events");
});
