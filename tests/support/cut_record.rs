//! A function record that Lambda cut. Its pieces reach the scanner in every possible way.

use std::slice::from_ref;

use oom_witness_core::sizes::{CUT_BODY_SIZE_MIN, DOUBT_BODIES, HELD_EVENTS_MAX};
use oom_witness_core::{Event, EventKind, Scanner};

const ENVELOPE: &str = r#"{"time":"2026-11-22T07:34:59.678Z","type":"function","record":"#;

/// A true event. No record contains its id.
const TRUE: &str =
    r#"{"time":"2026-11-22T07:34:59.700Z","type":"platform.start","record":{"requestId":"true"}}"#;

/// Cuts `record`, which is JSON, at these places, and gives the pieces to scanners in every way.
/// Checks that a scanner finds the true events around the pieces, and no other.
///
/// # Panics
/// If the record gives a platform event, or if the next whole body is lost.
pub fn check_cut_record(record: &str, cuts: &[usize], size: usize) {
    // Lambda cuts no number and no literal: none is larger than its buffer.
    if !record.starts_with(['"', '[', '{']) {
        return;
    }
    let pieces = pieces(record, cuts);
    let Some((first, rest)) = pieces.split_first() else { return };
    let whole = vec![format!("[{TRUE}]"); usize::from(DOUBT_BODIES) + 1];
    let another = whole.get(..1).unwrap_or_default();
    // The same scanner reads all of them.
    let taken = read(&[&whole, &pieces], size);
    assert_eq!(taken, whole.len() + 1, "continued: {pieces:?}");
    // After a restart, or on another connection. Another scanner has read the first piece.
    read_in_doubt(&[rest], size);
    read_in_doubt(&[another, rest], size);
    // After another batch.
    read(&[from_ref(first), another, rest], size);
    read(&[&whole, from_ref(first), another, rest], size);
    let [.., last] = rest else { return };
    // The start was lost, and nothing shows that.
    if record.matches("\"platform.").count() <= HELD_EVENTS_MAX {
        read(&[from_ref(last)], size);
        read(&[&whole, from_ref(last)], size);
    }
    // The middle was lost, or came to another scanner.
    if let [middle, _] = rest {
        read(&[from_ref(first), from_ref(last)], size);
        read_in_doubt(&[from_ref(middle)], size);
        read(&[from_ref(first), another, from_ref(middle), another, from_ref(last)], size);
    }
}

/// The bodies of the pieces. One in the middle is as large as Lambda's buffer.
fn pieces(record: &str, cuts: &[usize]) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut rest = record;
    let mut from = 0;
    for cut in cuts {
        let Some((piece, after)) = rest.split_at_checked(cut - from) else { return Vec::new() };
        let is_middle = !bodies.is_empty();
        let blanks = format!(",{}", " ".repeat(CUT_BODY_SIZE_MIN));
        let piece = if is_middle { piece.replacen(',', &blanks, 1) } else { piece.to_owned() };
        if is_middle && piece.len() < CUT_BODY_SIZE_MIN {
            return Vec::new();
        }
        bodies.push(format!("[{ENVELOPE}{piece}}}]"));
        (rest, from) = (after, *cut);
    }
    bodies.push(format!("[{ENVELOPE}{rest}}},{TRUE}]"));
    bodies
}

/// Counts the true events that one scanner finds in these bodies. It must find one more in a body
/// after them.
fn read(bodies: &[&[String]], size: usize) -> usize {
    read_by(Scanner::new(), bodies, size)
}

/// The same by a scanner that knows that a record was cut.
fn read_in_doubt(bodies: &[&[String]], size: usize) -> usize {
    let mut scanner = Scanner::new();
    scanner.doubt();
    read_by(scanner, bodies, size)
}

fn read_by(mut scanner: Scanner, bodies: &[&[String]], size: usize) -> usize {
    let mut taken = 0;
    let mut scan = |body: &str| {
        let before = taken;
        let mut on_event = |event: &Event| match &event.kind {
            EventKind::Function(_) => {}
            EventKind::Start { request_id } if request_id.as_str() == "true" => taken += 1,
            forged => panic!("forged: {forged:?} of {bodies:?}"),
        };
        for piece in body.as_bytes().chunks(size) {
            scanner.feed(piece, &mut on_event);
        }
        scanner.end_body(&mut on_event);
        taken - before
    };
    for body in bodies.iter().copied().flatten() {
        scan(body);
    }
    assert_eq!(scan(&format!("[{TRUE}]")), 1, "the next body is lost: {bodies:?}");
    taken - 1
}
