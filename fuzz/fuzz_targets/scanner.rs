//! The scanner: any body gives the same events in any pieces, and no panic, and the next whole body
//! gives its events. A valid batch gives the events that serde_json finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_core::{Event, Scanner};
use oom_witness_tests::{event_text, expected_events};

const GOOD: &str =
    r#"[{"time":"2031-01-01T00:00:00.000Z","type":"platform.start","record":{"requestId":"A"}}]"#;

fn scan(scanner: &mut Scanner, body: &[u8], size: usize) -> Vec<String> {
    let mut events = Vec::new();
    let mut on_event = |event: &Event| events.push(event_text(event));
    for piece in body.chunks(size.max(1)) {
        scanner.feed(piece, &mut on_event);
    }
    scanner.end_body(&mut on_event);
    events
}

fuzz_target!(|data: &[u8]| {
    let Some((size, body)) = data.split_first() else { return };
    let mut scanner = Scanner::new();
    let whole = scan(&mut scanner, body, usize::MAX);
    let mut other = Scanner::new();
    assert_eq!(scan(&mut other, body, usize::from(*size)), whole, "other pieces, other events");
    assert_eq!(scanner.skipped(), other.skipped());
    assert_eq!(scan(&mut scanner, GOOD.as_bytes(), 7).len(), 1, "the next body was lost");
    // serde_json takes the last of duplicate members where the scanner takes the first.
    let valid = core::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
    if let Some(batch) = valid
        && oom_witness_tests::has_no_duplicates(body)
    {
        assert_eq!(comparable(&whole), comparable(&expected_events(&batch)));
    }
});

/// What both sides agree on for any input: the events of invocations. Times are left out, since
/// serde_json's side reads more ways to write one. Figures are left out, since it rounds them.
fn comparable(events: &[String]) -> Vec<String> {
    let invocation = |event: &String| {
        let (_, what) = event.split_once(' ')?;
        let is_compared = ["start ", "done ", "report "].iter().any(|verb| what.starts_with(verb));
        let figures = what.rfind(" Some(").or(what.rfind(" None/"));
        is_compared.then(|| what[..figures.unwrap_or(what.len())].to_owned())
    };
    events.iter().filter_map(invocation).collect()
}
