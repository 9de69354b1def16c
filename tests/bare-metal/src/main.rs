//! Every step of core, without an operating system and without an allocator.
//!
//! The test is that it links: there is no `std`, no `alloc` and no libc to link with.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use oom_witness_core::format::datadog::UserTags;
use oom_witness_core::{Metric, Settings, ShutdownReason, Source, Witness, extensions, format};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start(body: *const u8, len: usize) -> ! {
    // SAFETY: the caller passes a body that can be read.
    let body = unsafe { core::slice::from_raw_parts(body, len) };
    let mut witness = Witness::new(Settings::default());
    let mut document = [0; format::DOCUMENT_SIZE];
    let (source, user) = (Source::default(), UserTags::default());
    let mut found = |detection: &oom_witness_core::Detection| {
        let metric = Metric::new(detection, &source).not_older(1, 2);
        let _ = black_box(format::emf::write(&metric, "OomWitness", &mut document));
        let _ = black_box(format::datadog::write(&[metric], &user, &mut document));
        let _ = black_box(format::sentence::write(detection, &mut document));
    };
    witness.feed(body, 0, &mut found);
    witness.end_body(0, &mut found);
    witness.abort_body(0, &mut found);
    witness.shutdown(ShutdownReason::Failure, &mut found);
    black_box(witness.detector().is_settled(ShutdownReason::Spindown));
    black_box(extensions::read_next(body));
    black_box(extensions::read_registration(body).function_name().len());
    loop {
        core::hint::spin_loop();
    }
}
