//! A fixed buffer for bytes, and for texts whose start is enough.
//!
//! It copies whole slices. heapless's vectors copy one element at a time, which took a fifth of the
//! instructions of an invocation.

use core::ops::Deref;

/// At most `N` bytes, and never more than 65,535.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<const N: usize> {
    bytes: [u8; N],
    len: u16,
}

impl<const N: usize> Bytes<N> {
    pub(crate) const fn new() -> Self {
        const { assert!(N <= u16::MAX as usize) };
        Self { bytes: [0; N], len: 0 }
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.len) == N
    }

    /// Keeps only the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = u16::try_from(len).map_or(self.len, |len| len.min(self.len));
    }

    /// Appends all of `run`. If it does not fit, appends nothing and returns false.
    pub(crate) fn push(&mut self, run: &[u8]) -> bool {
        let len = usize::from(self.len);
        let Some(slot) = self.bytes.get_mut(len..).and_then(|rest| rest.get_mut(..run.len()))
        else {
            return false;
        };
        slot.copy_from_slice(run);
        self.len = u16::try_from(len.saturating_add(run.len())).unwrap_or(self.len);
        true
    }

    /// Appends as much of `run` as fits. A clipped text fills its buffer, so it equals no text that
    /// it is compared with.
    pub(crate) fn append(&mut self, run: &[u8]) {
        let room = N.saturating_sub(self.len.into()).min(run.len());
        self.push(run.get(..room).unwrap_or_default());
    }
}

impl<const N: usize> Deref for Bytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
}
