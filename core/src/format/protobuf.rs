//! Appends fields of a protobuf message to a buffer
//! (<https://protobuf.dev/programming-guides/encoding/>).

use crate::Error;

/// A buffer. After the first field that does not fit, it takes nothing more and `finish` fails.
pub(super) struct ProtobufWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    is_full: bool,
}

impl<'a> ProtobufWriter<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, is_full: false }
    }

    /// An embedded message, whose fields `write` appends. Costs a move of its bytes, since its
    /// length comes first and is known last.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH_DELIMITED);
        let begin = self.len;
        write(self);
        let end = self.len;
        // The length is appended, then moved before the message.
        self.varint(end.saturating_sub(begin) as u64);
        let moved = self.len.saturating_sub(end);
        if let Some(bytes) = self.out.get_mut(begin..self.len) {
            bytes.rotate_right(moved);
        }
    }

    /// A text field, or nothing if the text is empty.
    pub(super) fn string(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.tag(field, LENGTH_DELIMITED);
            self.varint(text.len() as u64);
            self.bytes(text.as_bytes());
        }
    }

    /// A text field whose text is in several parts.
    pub(super) fn text_of(&mut self, field: u32, parts: &[&str]) {
        self.message(field, |text| parts.iter().for_each(|part| text.bytes(part.as_bytes())));
    }

    /// A field of type `uint64`, `int64`, `bool` or an enumeration.
    pub(super) fn integer(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// A field of type `fixed64` or `sfixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn finish(self) -> Result<usize, Error> {
        if self.is_full { Err(Error::BufferFull) } else { Ok(self.len) }
    }

    fn tag(&mut self, field: u32, wire_type: u64) {
        self.varint(u64::from(field) << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.bytes(&[low & 0x7f]);
            }
            self.bytes(&[low | 0x80]);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let rest = self.out.get_mut(self.len..).unwrap_or_default();
        match rest.get_mut(..bytes.len()) {
            Some(slot) if !self.is_full => {
                slot.copy_from_slice(bytes);
                self.len = self.len.saturating_add(bytes.len());
            }
            _ => self.is_full = true,
        }
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
