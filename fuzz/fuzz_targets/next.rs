//! Any body of the Extensions API gives no panic, the same event in any pieces, and the event that
//! serde_json reads. The first byte of the input chooses the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_core::extensions::{self, AnswerReader, Next};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((size, body)) = data.split_first() else { return };
    let mut reader = AnswerReader::new();
    // An earlier body must not change what is read.
    reader.feed(br#"{"eventType":"SHUTDOWN","deadlineMs":7,"functionName":"x","#);
    reader.clear();
    body.chunks(usize::from(*size).max(1)).for_each(|piece| reader.feed(piece));
    let event = extensions::read_next(body);
    assert_eq!(reader.event(), event);
    assert_eq!(reader.registration(), extensions::read_registration(body));
    let _ = reader.is_invalid_event_type();
    // serde_json takes the last of duplicate members where the reader takes the first.
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && oom_witness_tests::has_no_duplicates(body)
    {
        let is_type = |name: &str| value.get("eventType").and_then(Value::as_str) == Some(name);
        assert_eq!(matches!(event, Next::Invoke { .. }), is_type("INVOKE"));
        assert_eq!(matches!(event, Next::Shutdown { .. }), is_type("SHUTDOWN"));
    }
});
