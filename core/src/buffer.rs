//! Fixed buffers that keep the start of a text.

/// Appends as much of `run` as fits. A clipped text is as long as its buffer, and so longer than
/// anything that it is compared with.
pub(crate) fn append<const N: usize>(buffer: &mut heapless::Vec<u8, N>, run: &[u8]) {
    let room = N.saturating_sub(buffer.len()).min(run.len());
    let _ = buffer.extend_from_slice(run.get(..room).unwrap_or_default());
}
