//! Appends bytes, text, numbers and JSON strings to a buffer.

use crate::Error;
use crate::decimal::{DIGITS_MAX, decimal};

/// A buffer. After the first text that does not fit, it takes nothing more and `finish` fails.
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    is_full: bool,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, is_full: false }
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn number(&mut self, value: u64) {
        let mut digits = [0; DIGITS_MAX];
        self.bytes(decimal(value, &mut digits));
    }

    /// Text inside a JSON string. Control characters, quotes and backslashes are escaped.
    pub(super) fn escaped(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => self.bytes(&[b'\\', byte]),
                0..b' ' | 0x7f => {
                    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                    self.bytes(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
                }
                _ => self.bytes(&[byte]),
            }
        }
    }

    /// `"text"`, escaped.
    pub(super) fn string(&mut self, text: &str) {
        self.raw("\"");
        self.escaped(text);
        self.raw("\"");
    }

    /// `,"name":"text"`, or nothing if the text is empty.
    pub(super) fn member(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.member_name(name);
            self.string(text);
        }
    }

    /// `,"name":1`, or nothing without a value.
    pub(super) fn number_member(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.member_name(name);
            self.number(value);
        }
    }

    pub(super) fn finish(self) -> Result<usize, Error> {
        if self.is_full { Err(Error::BufferFull) } else { Ok(self.len) }
    }

    /// True if this byte was written last.
    pub(super) fn ends_with(&self, byte: u8) -> bool {
        self.out.get(..self.len).and_then(<[u8]>::last) == Some(&byte)
    }

    /// How many bytes have been written.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// What has been written since there were `begin` bytes.
    pub(super) fn written_since(&mut self, begin: usize) -> &mut [u8] {
        self.out.get_mut(begin..self.len).unwrap_or_default()
    }

    fn member_name(&mut self, name: &str) {
        self.raw(",\"");
        self.raw(name);
        self.raw("\":");
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
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

/// The bytes that `text` takes inside a JSON string ([`Writer::escaped`]).
pub(super) fn escaped_size(text: &str) -> usize {
    let size = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..b' ' | 0x7f => 6,
        _ => 1,
    };
    text.bytes().fold(0, |sum, byte| sum.saturating_add(size(byte)))
}

const HEX: &[u8; 16] = b"0123456789abcdef";
