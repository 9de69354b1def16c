//! core allocates nothing and does not grow. The test counts every allocation of its process. So it
//! has a process of its own, and no test harness, which would allocate too.

use std::alloc::System;

use oom_witness_core::format::datadog::UserTags;
use oom_witness_core::sizes::SNAPSHOT_SIZE;
use oom_witness_core::{Detector, Event, Metric, Scanner, Settings, Source, format};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Writes the telemetry of one invocation, whose request id has its number.
fn write_body(number: u64, out: &mut String) {
    use std::fmt::Write;
    out.clear();
    let (status, line) = match number % 5 {
        0 => (
            "error",
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        ),
        1 => ("timeout", "caught a MemoryError, \\u0041nd again"),
        _ => ("success", "nothing to see"),
    };
    let error = if number.is_multiple_of(7) { r#","errorType":"Runtime.OutOfMemory""# } else { "" };
    let time = "2026-11-22T07:34";
    let (second, used) = (number % 60, 100 + number % 30);
    let _ = write!(
        out,
        r#"[{{"time":"{time}:{second:02}.100Z","type":"platform.start","record":{{"requestId":"r{number}"}}}},
        {{"time":"{time}:{second:02}.200Z","type":"function","record":"{line}"}},
        {{"time":"{time}:{second:02}.250Z","type":"platform.newThing","record":{{"a":[{{}}]}}}},
        {{"time":"{time}:{second:02}.300Z","type":"platform.runtimeDone","record":{{"requestId":"r{number}","status":"{status}"{error}}}}},
        {{"time":"{time}:{second:02}.400Z","type":"platform.report","record":{{"requestId":"r{number}","status":"{status}","metrics":{{"memorySizeMB":128,"maxMemoryUsedMB":{used}}}}}}}]"#
    );
}

fn main() {
    a_million_events_allocate_nothing_and_leave_nothing_but_counters();
    println!("a million events allocate nothing: ok");
}

fn a_million_events_allocate_nothing_and_leave_nothing_but_counters() {
    let mut scanner = Scanner::new();
    let mut detector = Detector::new(Settings::default());
    let mut document = [0; format::DOCUMENT_SIZE];
    let mut snapshot = [0; SNAPSHOT_SIZE];
    let mut text = String::with_capacity(4096);
    let source = Source { function_name: "f", ..Source::default() };
    let user = UserTags::default();
    let (mut events, mut found, mut written) = (0_u64, 0_u64, 0_usize);
    let before = Region::new(ALLOCATOR);
    for number in 0..250_000 {
        write_body(number, &mut text);
        let mut on_event = |event: &Event| {
            events += 1;
            detector.observe(event, 0, &mut |detection| {
                found += 1;
                let metric = Metric::new(detection, &source);
                written += format::emf::write(&metric, "OomWitness", &mut document).unwrap_or(0);
                written += format::datadog::write(&[metric], &user, &mut document).unwrap_or(0);
            });
        };
        for piece in text.as_bytes().chunks(97) {
            scanner.feed(piece, &mut on_event);
        }
        scanner.end_body(&mut on_event);
        detector.snapshot(&mut snapshot);
    }
    let change = before.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    assert!(events >= 850_000 && found > 100_000 && written > 0, "{events} {found} {written}");
    assert_eq!(u64::from(detector.counters().detections), found);
    assert_eq!(scanner.skipped().unknown, 250_000);
    // The snapshot after a million events is as large as after a few.
    assert!(detector.restore(&snapshot, 0));
}
