//! Appends fields of a protobuf message to a buffer, and reads the fields of a message
//! (<https://protobuf.dev/programming-guides/encoding/>).

use super::pairs::DecodedText;
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

    /// A text field whose text has `%` escapes.
    pub(super) fn decoded(&mut self, field: u32, text: DecodedText<'_>) {
        self.message(field, |out| text.for_each(|byte| out.0.bytes(&[byte])));
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
const FIXED32: u64 = 5;

/// The fields of a message. It ends at the first that is cut or not understood.
pub(super) struct ProtobufReader<'a>(&'a [u8]);

/// The value of a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProtobufField<'a> {
    /// `uint64`, `int64`, `bool` or an enumeration.
    Integer(u64),
    /// A text or an embedded message.
    Bytes(&'a [u8]),
    /// A number of fixed size, which no message here needs.
    Fixed,
}

impl<'a> ProtobufReader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for ProtobufReader<'a> {
    /// The field's number and its value.
    type Item = (u64, ProtobufField<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            VARINT => ProtobufField::Integer(self.varint()?),
            LENGTH_DELIMITED => {
                let count = self.varint()?;
                ProtobufField::Bytes(self.bytes(count)?)
            }
            FIXED64 => self.bytes(8).map(|_| ProtobufField::Fixed)?,
            FIXED32 => self.bytes(4).map(|_| ProtobufField::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}
