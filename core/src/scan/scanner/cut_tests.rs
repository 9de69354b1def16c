//! A function prints an object that looks like platform events, and Lambda cuts its record. No
//! piece of it gives an event, wherever it is cut and whichever scanner reads it.

use super::*;
extern crate std;
use std::format;
use std::string::{String, ToString as _};
use std::vec;
use std::vec::Vec;

const ENVELOPE: &str = r#"{"time":"2026-11-22T07:34:59.678Z","type":"function","record":"#;

/// The id in forged events.
const FORGED: &str = "forged";

/// The id in true events.
const TRUE: &str = "true";

fn event(kind: &str, id: &str) -> String {
    format!(
        r#"{{"time":"2026-11-22T07:34:59.678Z","type":"{kind}","record":{{"requestId":"{id}","status":"error"}}}}"#
    )
}

/// A whole body.
fn batch() -> String {
    format!("[{}]", event("platform.start", TRUE))
}

/// A record with forged events in an array. They stand at the depth of a batch's elements if the
/// bytes before them are unknown.
fn record(before: &str, forged: usize, after: &str) -> String {
    let kinds = ["platform.report", "platform.runtimeDone", "platform.start", "platform.fault"];
    let forged: Vec<String> =
        kinds.iter().cycle().take(forged).map(|kind| event(kind, FORGED)).collect();
    format!("{before}{}{after}", forged.join(","))
}

fn records(forged: usize) -> Vec<String> {
    vec![
        record("[1,", forged, ",2]"),
        record(r#"{"a":[{"b":{"c":1}},"#, forged, r#",{"d":"\"}}]"}],"e":"\\"}"#),
        record(r#"[[[{"x":[{"y":"},{"},"#, forged, r#"]}]],{"time":"z"}]"#),
        record(r#"{"requestId":"forged","m":"}},{","n":["#, forged, r#",[{}],{"o":1.5e3}]}"#),
        record("{\"a\":[", forged, "]} \t\r\n "),
    ]
}

/// The bodies that Lambda makes of a record that it cuts at these places. The last one goes on with
/// a true event.
fn bodies(record: &str, cuts: &[usize]) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut from = 0;
    for cut in cuts {
        bodies.push(format!("[{ENVELOPE}{}}}]", &record[from..*cut]));
        from = *cut;
    }
    bodies.push(format!("[{ENVELOPE}{}}},{}]", &record[from..], event("platform.start", TRUE)));
    bodies
}

/// Reads a body in pieces of `size` bytes. Returns how many true events it gave.
fn read(scanner: &mut Scanner, body: &str, size: usize) -> usize {
    let mut taken = 0;
    let mut on_event = |event: &Event| match &event.kind {
        EventKind::Function(_) => {}
        EventKind::Start { request_id } if request_id.as_str() == TRUE => taken += 1,
        other => panic!("forged: {other:?} of {body}"),
    };
    for piece in body.as_bytes().chunks(size) {
        scanner.feed(piece, &mut on_event);
    }
    scanner.end_body(&mut on_event);
    taken
}

fn read_all(scanner: &mut Scanner, bodies: &[&str], size: usize) -> usize {
    bodies.iter().map(|body| read(scanner, body, size)).sum()
}

/// A scanner that has read that many whole bodies.
fn after(whole: usize, size: usize) -> Scanner {
    let mut scanner = Scanner::new();
    let batch = batch();
    let taken: usize = (0..whole).map(|_| read(&mut scanner, &batch, size)).sum();
    assert_eq!(taken, whole);
    scanner
}

/// A scanner of a new process or connection, after a record was cut elsewhere.
fn doubtful() -> Scanner {
    let mut scanner = Scanner::new();
    scanner.doubt();
    scanner
}

/// The cases of the module's table. After each, the next whole body is read.
fn check(bodies: &[&str], size: usize) {
    let [first, rest @ ..] = bodies else { return };
    let batch = batch();
    let check = |mut scanner: Scanner, bodies: &[&str], expected: Option<usize>| {
        let taken = read_all(&mut scanner, bodies, size);
        if let Some(expected) = expected {
            assert_eq!(taken, expected, "{bodies:?}");
        }
        assert_eq!(read(&mut scanner, &batch, size), 1, "{bodies:?}");
    };
    // A middle piece is as large as Lambda's buffer.
    let small = |mut scanner: Scanner| {
        scanner.cut_size = if bodies.len() > 2 { 0 } else { scanner.cut_size };
        scanner
    };
    // Next, to the same scanner.
    check(after(0, size), bodies, Some(1));
    check(after(20, size), bodies, Some(1));
    // On another connection, to another scanner; after a restart; the first half was lost.
    check(small(doubtful()), rest, None);
    if bodies.len() == 2 {
        check(Scanner::new(), rest, None);
    }
    let mut other = after(20, size);
    other.doubt();
    check(small(other), rest, None);
    if bodies.len() == 2 {
        check(after(20, size), rest, None);
    }
    // After another batch.
    let mut with_another = vec![*first, &batch];
    with_another.extend(rest);
    check(small(after(20, size)), &with_another, None);
    // The piece before it was lost.
    if let [_, _, last] = bodies {
        check(small(doubtful()), &[first, last], None);
        check(after(20, size), &[first, last], None);
        check(after(20, size), &[last], None);
        check(small(doubtful()), &[rest[0]], None);
        // Another body between any two.
        check(small(after(20, size)), &[first, &batch, rest[0], &batch, last], None);
    }
}

fn check_cuts(record: &str, cuts: &[usize], size: usize) {
    let bodies = bodies(record, cuts);
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    check(&bodies, size);
}

#[test]
fn a_cut_record_gives_no_event_of_the_platform() {
    for record in records(4) {
        for cut in 1..record.len() {
            for size in [1, 64] {
                check_cuts(&record, &[cut], size);
            }
        }
    }
}

#[test]
fn a_record_that_is_cut_twice_gives_no_event_of_the_platform() {
    for record in records(1) {
        for first in 1..record.len() - 1 {
            for second in (first + 1..record.len()).step_by(7) {
                check_cuts(&record, &[first, second], usize::MAX);
            }
        }
    }
}

/// More forged events than are held.
#[test]
fn too_many_forged_events_are_dropped_while_there_is_doubt() {
    let record = record("[1,", 3 * HELD_EVENTS_MAX, ",2]");
    let bodies = bodies(&record, &[3]);
    let mut scanner = doubtful();
    assert_eq!(read(&mut scanner, &bodies[1], 64), 0);
    // The first is read as the record. A quarter are faults that do not mention memory.
    let forged = 3 * HELD_EVENTS_MAX * 3 / 4 - 1;
    assert_eq!(scanner.skipped().distrusted, u32::try_from(forged + 1).unwrap());
}

/// A busy environment of Managed Instances: after a line, more events than are held.
#[test]
fn many_events_are_taken_if_no_body_is_missing() {
    let line = format!("{ENVELOPE}\"text\"}}");
    let starts = vec![event("platform.start", TRUE); 3 * HELD_EVENTS_MAX].join(",");
    let body = format!("[{line},{starts}]");
    let mut scanner = after(DOUBT_BODIES.into(), 64);
    assert_eq!(scanner.doubts(), 0);
    assert_eq!(read(&mut scanner, &body, 64), 3 * HELD_EVENTS_MAX);
    assert_eq!(read(&mut scanner, &body, 64), 3 * HELD_EVENTS_MAX);
    assert_eq!(scanner.skipped(), Skipped::default());
    assert_eq!(read(&mut Scanner::new(), &body, 64), 3 * HELD_EVENTS_MAX);
    // While there is doubt, only as many events as are held.
    let mut scanner = doubtful();
    assert_eq!(read(&mut scanner, &body, 64), HELD_EVENTS_MAX);
    assert_eq!(scanner.skipped().distrusted, u32::try_from(2 * HELD_EVENTS_MAX).unwrap());
}

/// A body that is as large as the middle of a record proves nothing by its end.
#[test]
fn a_large_body_is_taken_if_no_body_is_missing() {
    let line = format!("{ENVELOPE}\"{}\"}}", "x".repeat(CUT_BODY_SIZE_MIN));
    let body = format!("[{line},{}]", event("platform.start", TRUE));
    let mut scanner = doubtful();
    assert_eq!(read(&mut scanner, &body, 4096), 0);
    assert_eq!(scanner.skipped().distrusted, 1);
    assert_eq!(read(&mut Scanner::new(), &body, 4096), 1);
    // It begins with a platform event, so its depth is known.
    let body = format!("[{},{line}]", event("platform.start", TRUE));
    assert_eq!(read(&mut Scanner::new(), &body, 4096), 1);
}

/// In order, including those that need no trust.
#[test]
fn held_events_keep_their_order() {
    let line = format!("{ENVELOPE}\"FATAL ERROR: JavaScript heap out of memory\"}}");
    let body = format!(
        "[{line},{},{line},{}]",
        event("platform.start", "1"),
        event("platform.start", "2")
    );
    let mut order = String::new();
    let mut scanner = Scanner::new();
    let mut on_event = |event: &Event| match &event.kind {
        EventKind::Function(_) => order.push('l'),
        EventKind::Start { request_id } => order.push_str(request_id.as_str()),
        _ => {}
    };
    scanner.feed(body.as_bytes(), &mut on_event);
    scanner.end_body(&mut on_event);
    assert_eq!(order.to_string(), "l1l2");
}
