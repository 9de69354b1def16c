//! Appends fields of a protobuf message to a buffer
//! (<https://protobuf.dev/programming-guides/encoding/>).

use super::writer::Writer;
use crate::Error;

/// A buffer of fields. After the first that does not fit, it takes nothing more and `finish` fails.
pub(super) struct ProtobufWriter<'a>(Writer<'a>);

impl<'a> ProtobufWriter<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self(Writer::new(out))
    }

    /// An embedded message, whose fields `write` appends. Costs a move of its bytes, since its
    /// length comes first and is known last.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH_DELIMITED);
        let begin = self.0.len();
        write(self);
        let end = self.0.len();
        // The length is appended, then moved before the message.
        self.varint(end.saturating_sub(begin) as u64);
        let moved = self.0.len().saturating_sub(end);
        self.0.written_since(begin).rotate_right(moved);
    }

    /// A text field, or nothing if the text is empty.
    pub(super) fn string(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.tag(field, LENGTH_DELIMITED);
            self.varint(text.len() as u64);
            self.0.bytes(text.as_bytes());
        }
    }

    /// A text field whose text is in several parts.
    pub(super) fn text_of(&mut self, field: u32, parts: &[&str]) {
        self.message(field, |text| parts.iter().for_each(|part| text.0.raw(part)));
    }

    /// A field of type `uint64`, `int64`, `bool` or an enumeration.
    pub(super) fn integer(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// A field of type `fixed64` or `sfixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.0.bytes(&value.to_le_bytes());
    }

    pub(super) fn finish(self) -> Result<usize, Error> {
        self.0.finish()
    }

    fn tag(&mut self, field: u32, wire_type: u64) {
        self.varint(u64::from(field) << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.bytes(&[low & 0x7f]);
            }
            self.0.bytes(&[low | 0x80]);
        }
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
