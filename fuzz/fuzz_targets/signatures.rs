//! Signatures: any text as a record gives the same evidence in any pieces. It is at least a mention
//! if the text has a word of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_tests::evidence_in_pieces;
use serde_json::Value;

fuzz_target!(|data: (u8, &str)| {
    let (size, text) = data;
    let record = Value::from(text);
    let whole = evidence_in_pieces(&record, usize::MAX);
    assert_eq!(evidence_in_pieces(&record, usize::from(size)), whole);
    let words = ["MemoryError", "OutOfMemoryException", "JavaScript heap out of memory"];
    assert!(whole.is_some() || !words.iter().any(|word| text.contains(word)), "{text}");
});
