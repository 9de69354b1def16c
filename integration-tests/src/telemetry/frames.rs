//! The framed log descriptor of managed runtimes.
//!
//! In: bytes in pieces of any size. Out: the payload of each frame. All numbers are big-endian:
//!
//! ```text
//! a55a0003  0000000c  0005e93f1c0d2a00  hello, frame
//! type      length    time in us        payload
//! ```
//!
//! The type `a55a0002` is JSON and `a55a0003` is text. A level may be OR-ed in. Bytes before the
//! next frame are skipped.

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    /// Microseconds since 1970, as the runtime wrote them.
    pub(crate) time_us: u64,
    /// The payload, which may hold line breaks.
    pub(crate) text: String,
}

/// Collects pieces into frames.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
}

impl FrameReader {
    /// Takes a piece and gives what it completed.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(piece);
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            frames.push(frame);
        }
        frames
    }

    fn next(&mut self) -> Option<Frame> {
        self.skip_noise();
        self.buffer.first_chunk().filter(|four| is_type(four))?;
        let length = u32::from_be_bytes(*self.buffer.get(4..)?.first_chunk()?) as usize;
        let time_us = u64::from_be_bytes(*self.buffer.get(8..)?.first_chunk()?);
        let payload = self.buffer.get(HEADER_SIZE..HEADER_SIZE.checked_add(length)?)?;
        let text = String::from_utf8_lossy(payload).into_owned();
        self.buffer.drain(..HEADER_SIZE + length);
        Some(Frame { time_us, text })
    }

    /// Drops bytes until four of them are a type, or fewer than four are left.
    fn skip_noise(&mut self) {
        let start = self.buffer.windows(4).position(|four| four.first_chunk().is_some_and(is_type));
        let noise = start.unwrap_or(self.buffer.len().saturating_sub(3));
        self.buffer.drain(..noise);
    }
}

/// A frame of text as a runtime interface client writes it, without a level.
pub(crate) fn encode(time_us: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&TEXT.to_be_bytes()[..], &length.to_be_bytes(), &time_us.to_be_bytes(), payload].concat()
}

fn is_type(four: &[u8; 4]) -> bool {
    matches!(u32::from_be_bytes(*four) & !LEVEL, JSON | TEXT)
}

const HEADER_SIZE: usize = 16;
const JSON: u32 = 0xa55a_0002;
const TEXT: u32 = 0xa55a_0003;
/// TRACE 0b00100 to FATAL 0b11000.
const LEVEL: u32 = 0b1_1100;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], step: usize) -> Vec<Frame> {
        let mut reader = FrameReader::default();
        bytes.chunks(step).flat_map(|piece| reader.feed(piece)).collect()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_frames() {
        let mut bytes = encode(7, b"[ERROR] MemoryError\nTraceback");
        bytes.extend(encode(8, b"{}"));
        let json = bytes.len() - 18;
        bytes[json..json + 4].copy_from_slice(&JSON.to_be_bytes());
        bytes.extend(encode(9, b""));
        let whole = frames(&bytes, bytes.len());
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0].text, "[ERROR] MemoryError\nTraceback");
        assert_eq!((whole[1].text.as_str(), whole[1].time_us), ("{}", 8));
        for step in 1..bytes.len() {
            assert_eq!(frames(&bytes, step), whole, "pieces of {step}");
        }
    }

    #[test]
    fn a_level_does_not_hide_the_type() {
        let mut bytes = encode(0, b"x");
        bytes[3] |= 0b1_0100;
        assert_eq!(frames(&bytes, 5)[0].text, "x");
    }

    #[test]
    fn noise_is_passed_over() {
        let mut bytes = b"plain line\n".to_vec();
        bytes.extend(encode(0, b"x"));
        assert_eq!(frames(&bytes, 3).len(), 1);
    }

    #[test]
    fn a_frame_that_never_ends_gives_nothing() {
        let bytes = encode(0, b"abc");
        assert_eq!(frames(&bytes[..bytes.len() - 1], 4), []);
    }
}
