//! A function record that Lambda cut gives no platform event. The record is any JSON, cut at any
//! place, with its pieces in any order.
//!
//! The first three bytes of the input choose the two places and the size of the scanner's pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_tests::check_cut_record;

fuzz_target!(|data: &[u8]| {
    let Some(([first, second, size], record)) = data.split_first_chunk() else { return };
    let Ok(record) = core::str::from_utf8(record) else { return };
    // `true` is the id of true events.
    if record.contains("true") || serde_json::from_str::<serde_json::Value>(record).is_err() {
        return;
    }
    let place = |chosen: u8| {
        let at = record.len() * usize::from(chosen) / 256;
        (at > 0 && record.is_char_boundary(at)).then_some(at)
    };
    let size = usize::from(*size).max(1);
    let (Some(first), Some(second)) = (place(*first), place(*second)) else { return };
    check_cut_record(record, &[first], size);
    if first < second {
        check_cut_record(record, &[first, second], 64 * size);
    }
});
