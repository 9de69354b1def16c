//! Any text as a record, in any pieces: the same evidence, and at least a mention where a word is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_core::{Event, EventKind, Scanner};
use serde_json::json;

fuzz_target!(|data: (u8, &str)| {
    let (size, text) = data;
    let time = "2026-11-22T07:34:59.678Z";
    let body = json!([{ "time": time, "type": "function", "record": text }]).to_string();
    let evidence = |size: usize| {
        let mut found = None;
        let mut on_event = |event: &Event| {
            if let EventKind::Function(line) = &event.kind {
                found = line.evidence;
            }
        };
        let mut scanner = Scanner::new();
        for piece in body.as_bytes().chunks(size) {
            scanner.feed(piece, &mut on_event);
        }
        scanner.end_body(&mut on_event);
        found
    };
    let whole = evidence(usize::MAX);
    assert_eq!(evidence(usize::from(size).max(1)), whole);
    let words = ["MemoryError", "OutOfMemoryException", "JavaScript heap out of memory"];
    assert!(whole.is_some() || !words.iter().any(|word| text.contains(word)), "{text}");
});
