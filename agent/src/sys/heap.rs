//! The heap: a fixed part of the program's own zeroed memory, then libc's heap.
//!
//! The agent allocates only at its start, and everything fits here. So it never asks the kernel for
//! memory, and the kernel cannot refuse it, which would end the process. Memory that is freed is
//! used again only if it was allocated last, as with strings that grow. A child that speaks TLS
//! needs more than fits, and uses libc's heap alone ([`leave_to_libc`]). When libc has no memory
//! either, the process logs a line and ends. std would end it too, and in the layer without a line.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Stream, write_line};

pub(crate) use crate::error::NO_MEMORY;

/// Room for two connections of 4.3 KiB each, and for the values of variables, which Lambda limits
/// to 4 KiB. An unused page is not resident.
const SIZE: usize = 32 * 1024;

#[cfg_attr(not(any(test, fuzzing)), global_allocator)]
static HEAP: Heap = Heap::new();

/// A field placed after `bytes` would cost an extra resident page.
#[repr(C)]
struct Heap {
    /// The number of bytes in use: `bytes` is allocated up to here, and free from here on.
    used: AtomicUsize,
    bytes: UnsafeCell<[u8; SIZE]>,
}

// SAFETY: only `used` is shared; each byte of `bytes` belongs to whoever moved `used` past it.
// WHY: a global allocator has to be Sync.
unsafe impl Sync for Heap {}

/// True if the process logs nothing when no memory is left.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// From now on libc serves all requests. This is for a process that allocates much and ends soon.
#[cfg(feature = "network")]
pub(crate) fn leave_to_libc() {
    HEAP.used.store(SIZE, Ordering::Relaxed);
}

/// Sets whether the process ends without a log line when no memory is left.
#[cfg(feature = "network")]
pub(crate) fn set_silent(is_silent: bool) {
    IS_SILENT.store(is_silent, Ordering::Relaxed);
}

/// Returns a block of libc's; ends the process if there is none.
fn checked(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        end_without_memory();
    }
    block
}

#[cold]
#[inline(never)]
fn end_without_memory() -> ! {
    if !IS_SILENT.load(Ordering::Relaxed) {
        // If this fails, nothing else can be tried.
        let _ = write_line(Stream::Stderr, b"oom-witness: no memory is left for this process\n");
    }
    // SAFETY: `_exit` has no conditions.
    // WHY: std's exit runs handlers, which may ask for memory.
    unsafe { libc::_exit(NO_MEMORY.into()) }
}

impl Heap {
    const fn new() -> Self {
        Self { used: AtomicUsize::new(0), bytes: UnsafeCell::new([0; SIZE]) }
    }

    fn begin(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Where a block begins in `bytes`; `None` if it is libc's.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        block.addr().checked_sub(self.begin().addr()).filter(|offset| *offset < SIZE)
    }

    /// Sets `used` to `to`, if it is still `from` and `to` is not too large.
    fn shift(&self, from: usize, to: usize) -> bool {
        to <= SIZE
            && self.used.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

// SAFETY: a block is either libc's, or lies between the old and the new value of `used`. So no two
// blocks share a byte, and each has the alignment and the size of its layout.
// WHY: only a global allocator decides where memory comes from.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        loop {
            let used = self.used.load(Ordering::Relaxed);
            let end = self.begin().addr().wrapping_add(used);
            let start = used + (end.next_multiple_of(layout.align()) - end);
            let Some(next) = start.checked_add(layout.size()).filter(|next| *next <= SIZE) else {
                // SAFETY: the caller's promises are passed on.
                // WHY: the block does not fit here.
                return checked(unsafe { System.alloc(layout) });
            };
            if self.shift(used, next) {
                return self.begin().wrapping_add(start);
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(start) => {
                self.shift(start + layout.size(), start);
            }
            // SAFETY: the block is not ours, so it is libc's; the caller's promises are passed on.
            // WHY: the other half of `alloc`.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(start) = self.offset(block) else {
            // SAFETY: the block is not ours, so it is libc's; the caller's promises are passed on.
            // WHY: as above.
            return checked(unsafe { System.realloc(block, layout, size) });
        };
        if start.checked_add(size).is_some_and(|end| self.shift(start + layout.size(), end)) {
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises a size that is valid with this alignment, and a block of the
        // old layout. The new block is another one, and larger.
        // WHY: another block follows this one, so it cannot grow in place.
        unsafe {
            let larger = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            larger.copy_from_nonoverlapping(block, layout.size());
            self.dealloc(block, layout);
            larger
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of every alignment and size, freed in any order, keep their content.
    #[test]
    fn blocks_share_no_byte() {
        let heap = Heap::new();
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let is_whole = |(block, layout, value): &(*mut u8, Layout, u8)| {
            // SAFETY: the block is live and was filled to its size.
            // WHY: the test reads it.
            let bytes = unsafe { std::slice::from_raw_parts(*block, layout.size()) };
            block.addr() % layout.align() == 0 && bytes.iter().all(|byte| byte == value)
        };
        let mut state = 1_u32;
        for round in 0..20_000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (choice, value) = (state >> 16, round.to_le_bytes()[0]);
            let layout = Layout::from_size_align(1 + choice as usize % 700, 1 << (choice % 8));
            let layout = layout.unwrap();
            // SAFETY: sizes are not 0, and each block is freed once, with its layout.
            // WHY: this is what the test is about.
            unsafe {
                if blocks.len() > 40 || choice % 3 == 0 && !blocks.is_empty() {
                    let at = choice as usize % blocks.len();
                    let (block, layout, _) = blocks.swap_remove(at);
                    heap.dealloc(block, layout);
                } else if choice % 5 == 0 && !blocks.is_empty() {
                    let last = blocks.len() - 1;
                    let (block, old, kept) = blocks[last];
                    let block = heap.realloc(block, old, layout.size());
                    let new = Layout::from_size_align(layout.size(), old.align()).unwrap();
                    blocks[last] = (block, new, kept);
                    let is_kept = (
                        block,
                        Layout::from_size_align(old.size().min(new.size()), old.align()).unwrap(),
                        kept,
                    );
                    assert!(is_whole(&is_kept));
                    block.write_bytes(kept, new.size());
                } else {
                    let block = heap.alloc(layout);
                    block.write_bytes(value, layout.size());
                    blocks.push((block, layout, value));
                }
            }
            assert!(blocks.iter().all(is_whole));
            assert!(heap.used.load(Ordering::Relaxed) <= SIZE);
        }
        for (block, layout, _) in blocks {
            // SAFETY: as above.
            // WHY: as above.
            unsafe { heap.dealloc(block, layout) };
        }
    }

    #[test]
    fn the_last_block_grows_in_place() {
        let heap = Heap::new();
        let layout = |size| Layout::from_size_align(size, 1).unwrap();
        // SAFETY: sizes are not 0, and the block is freed once, with its layout.
        // WHY: this is what the test is about.
        unsafe {
            let block = heap.alloc(layout(10));
            assert_eq!(heap.realloc(block, layout(10), SIZE), block);
            assert!(heap.offset(heap.alloc(layout(1))).is_none());
            heap.dealloc(block, layout(SIZE));
            assert_eq!(heap.alloc(layout(1)), block);
        }
    }
}
