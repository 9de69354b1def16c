//! Any body of the Extensions API: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_witness_core::extensions;

fuzz_target!(|data: &[u8]| {
    let _ = extensions::read_next(data);
    let _ = extensions::read_registration(data);
});
