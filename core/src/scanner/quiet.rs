//! Knows function records that say nothing of memory: most of what a function prints.
//!
//! In: bytes at an element of the batch. Out: what lies behind it, if it is whole, in the shape in
//! which Lambda writes it, and plainly without evidence. Whatever is in doubt is left to the lexer,
//! which reads the same bytes from their start: this only saves time, and changes no event.

use crate::find::plain_text;
use crate::signature;

/// The start of a function record that is text, as Lambda writes it:
/// `{"time":"...","type":"function","record":"...`.
pub(super) struct TextElement<'a> {
    pub(super) time: &'a [u8],
    /// Everything before the text's opening quote and its colon.
    pub(super) envelope: &'a [u8],
    /// What follows the text's opening quote.
    pub(super) text: &'a [u8],
}

impl<'a> TextElement<'a> {
    /// `None` if `input` starts otherwise, or ends too soon.
    pub(super) fn at(input: &'a [u8]) -> Option<Self> {
        let behind = input.strip_prefix(BEFORE_TIME)?;
        let (time, behind) = behind.split_first_chunk::<TIME_LEN>()?;
        let text = behind.strip_prefix(BEFORE_TEXT)?;
        let is_odd = time.iter().fold(false, |odd, byte| odd | matches!(byte, b'"' | b'\\'));
        let envelope = input.get(..ENVELOPE_LEN)?;
        (!is_odd).then_some(Self { time, envelope, text })
    }

    /// What follows the element, if it is whole and holds no evidence.
    pub(super) fn behind_quiet(&self) -> Option<&'a [u8]> {
        let text = plain_text(self.text);
        let behind = self.text.get(text.len()..)?.strip_prefix(b"\"}")?;
        let decoded_later = text.starts_with(b"{") || text.first_chunk::<4>()?.contains(&b'\\');
        (!decoded_later && !signature::may_be_evidence(text)).then_some(behind)
    }
}

const BEFORE_TIME: &[u8] = b"{\"time\":\"";

/// `2026-11-22T07:34:59.678Z`.
const TIME_LEN: usize = 24;

const BEFORE_TEXT: &[u8] = b"\",\"type\":\"function\",\"record\":\"";

const ENVELOPE_LEN: usize = BEFORE_TIME.len() + TIME_LEN + BEFORE_TEXT.len() - b":\"".len();
