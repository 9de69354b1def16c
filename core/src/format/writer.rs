//! [`Writer`]: appends bytes, text, numbers and JSON strings to a buffer.

use crate::Error;
use crate::decimal::{DIGITS_MAX, decimal};

/// Fills the caller's buffer. After the first text that does not fit, it takes nothing more, and
/// [`Writer::finish`] fails. So a format needs no check of its own. No step allocates.
///
/// A format of your own:
///
/// ```
/// use oom_witness_core::format::Writer;
/// use oom_witness_core::{Error, Metric};
///
/// fn write(metric: &Metric<'_>, out: &mut [u8]) -> Result<usize, Error> {
///     let mut writer = Writer::new(out);
///     writer.raw("{\"name\":");
///     writer.string(metric.name());
///     writer.number_member("value", Some(metric.value()));
///     writer.member("function", metric.source.function_name);
///     writer.raw("}");
///     writer.finish()
/// }
/// # use oom_witness_core::{Confidence, Detection, DetectionKind, EvidenceSet, Source, StartKind};
/// # use oom_witness_core::{Status, Subject};
/// # let detection = Detection {
/// #     kind: DetectionKind::OutOfMemory,
/// #     subject: Subject::Init,
/// #     evidence: EvidenceSet::EMPTY,
/// #     confidence: Confidence::Confirmed,
/// #     status: Status::Error,
/// #     time_ms: 0,
/// #     memory_size_mb: None,
/// #     max_memory_used_mb: None,
/// #     start: StartKind::Cold,
/// #     count: 1,
/// # };
/// # let source = Source { function_name: "re\"size", ..Source::default() };
/// # let metric = Metric::new(&detection, &source);
/// # let mut out = [0; 128];
/// # let length = write(&metric, &mut out)?;
/// # let expected = r#","value":1,"function":"re\"size"}"#;
/// # assert!(out[..length].ends_with(expected.as_bytes()));
/// # assert_eq!(write(&metric, &mut out[..length - 1]), Err(Error::BufferFull));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    is_full: bool,
}

impl<'a> Writer<'a> {
    /// Writes from the beginning of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, is_full: false }
    }

    /// A text as it is.
    pub fn raw(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A number in decimal digits.
    pub fn number(&mut self, value: u64) {
        let mut digits = [0; DIGITS_MAX];
        self.bytes(decimal(value, &mut digits));
    }

    /// Text inside a JSON string. Control characters, quotes and backslashes are escaped.
    pub fn escaped(&mut self, text: &str) {
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
    pub fn string(&mut self, text: &str) {
        self.raw("\"");
        self.escaped(text);
        self.raw("\"");
    }

    /// `,"name":"text"`, or nothing if the text is empty. The name is not escaped.
    pub fn member(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.member_name(name);
            self.string(text);
        }
    }

    /// `,"name":1`, or nothing without a value. The name is not escaped.
    pub fn number_member(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.member_name(name);
            self.number(value);
        }
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`Error::BufferFull`] if they did not all fit.
    pub fn finish(self) -> Result<usize, Error> {
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

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
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
