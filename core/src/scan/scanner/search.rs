//! Finds the next element of a batch after an error.

/// The last bytes that were read. The next element may have begun in them.
#[derive(Clone, Copy)]
pub(super) struct RecentBytes {
    pub(super) bytes: [u8; RECENT_SIZE],
}

impl RecentBytes {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; RECENT_SIZE] }
    }

    pub(super) fn note(&mut self, piece: &[u8]) {
        let tail = piece.get(piece.len().saturating_sub(RECENT_SIZE)..).unwrap_or(piece);
        self.bytes.rotate_left(tail.len().min(RECENT_SIZE));
        for (slot, byte) in self.bytes.iter_mut().rev().zip(tail.iter().rev()) {
            *slot = *byte;
        }
    }
}

/// How many bytes of [`EVENT_START`] the text ends with after `byte`. The first byte of it, a comma
/// or the batch's bracket, does not occur in it again.
pub(super) fn search_step(matched: usize, byte: u8) -> usize {
    let is_start = matches!(byte, b',' | b'[');
    match EVENT_START.get(matched) {
        Some(expected) if matched > 0 && *expected == byte => matched.saturating_add(1),
        _ => usize::from(is_start),
    }
}

/// How each element begins, after a comma or the batch's bracket. The first byte stands for both.
pub(super) const EVENT_START: &[u8] = b",{\"time\":\"";

/// The longest incomplete start of an element.
const RECENT_SIZE: usize = EVENT_START.len() - 1;
