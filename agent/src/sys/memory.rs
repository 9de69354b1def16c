//! Which pages of the program are resident: see `agent/MEMORY.md`.
//!
//! In: nothing. Out: advice to the kernel, which changes how much is resident and nothing else.

use std::hint;
use std::ptr;

/// The kernel's pages, on both of Lambda's processors.
const PAGE_SIZE: usize = 4096;

/// Touches all stack pages that the loop can ever need, so that the kernel need not grant them
/// later. The deepest calls are those for the first eviction from a full table, and for the first
/// metric.
#[inline(never)]
pub(crate) fn touch_stack() {
    hint::black_box(&mut [0_u8; LOOP_STACK]);
}

/// The stack that the loop's calls need, measured from `EventLoop::run`: 7.4 KiB, and 7.6 for a
/// metric.
const LOOP_STACK: usize = 7936;

/// Gives back the program's own pages that only its start needed. Their content is in the file, so
/// the kernel maps what the loop touches again, and no longer counts the rest as resident.
pub(crate) fn give_back_start() {
    let begin = (&raw const __executable_start).addr() & !(PAGE_SIZE - 1);
    let end = (&raw const etext).addr() & !(PAGE_SIZE - 1);
    let begin = ptr::without_provenance_mut(begin);
    // SAFETY: the range contains only the program's read-only segments, mapped from its file, whose
    // pages come back with the same bytes.
    // WHY: std has no madvise.
    unsafe { libc::madvise(begin, end.saturating_sub(begin.addr()), libc::MADV_DONTNEED) };
}

/// Splits the program's mappings at the end of the pages that only its start needs. The kernel maps
/// 64 KiB around each page that is touched, but never beyond its mapping.
#[cfg(not(any(test, fuzzing)))]
pub(crate) fn set_start_apart() {
    let up = |address: *const u8| address.addr().next_multiple_of(PAGE_SIZE);
    for (begin, end) in [
        (&raw const oom_witness_start_constants, &raw const oom_witness_start_constants_end),
        (&raw const oom_witness_start_code, &raw const oom_witness_start_code_end),
    ] {
        let (begin, end) = (up(begin), up(end));
        let length = end.saturating_sub(begin);
        let begin = ptr::without_provenance_mut(begin);
        // SAFETY: the range is the program's own, and the call changes only what a core dump
        // contains.
        // WHY: any difference splits a mapping, and this one has no other effect.
        unsafe { libc::madvise(begin, length, libc::MADV_DONTDUMP) };
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) fn set_start_apart() {}

#[cfg(not(any(test, fuzzing)))]
unsafe extern "C" {
    /// What only the start can reach. `cargo layer` tells the linker; in other builds the range is
    /// empty.
    static oom_witness_start_constants: u8;
    static oom_witness_start_constants_end: u8;
    static oom_witness_start_code: u8;
    static oom_witness_start_code_end: u8;
}

unsafe extern "C" {
    /// The first byte of the program.
    static __executable_start: u8;
    /// The end of its code.
    static etext: u8;
}
