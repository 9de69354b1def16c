//! Reads whole elements at once, in the shape in which Lambda mostly writes them.
//!
//! In: bytes that begin with an element. Out: its envelope, and the bytes after it if it is a whole
//! function's element that is certainly no evidence. In doubt it reads nothing, and the lexer reads
//! the same bytes from their start. So this file only saves time, and changes no event.

use crate::scan::compact::walk;
use crate::scan::find::{plain_text, quote_or_backslash};
use crate::scan::signature;
use crate::time;

/// The start of an element: `{"time":"...","type":"...","record":`.
pub(super) struct ElementStart<'a> {
    pub(super) time: &'a [u8],
    pub(super) kind: &'a [u8],
    /// Everything before the record's colon.
    pub(super) envelope: &'a [u8],
    /// Everything after it.
    pub(super) record: &'a [u8],
}

/// The start of a function's record.
#[derive(Clone, Copy)]
pub(super) enum FunctionRecord<'a> {
    /// A text: everything after its opening quote, and the plain start of that.
    Text { text: &'a [u8], plain: &'a [u8] },
    /// An object: everything from its brace on.
    Object(&'a [u8]),
}

impl<'a> ElementStart<'a> {
    /// `None` if `input` starts otherwise, or ends too soon.
    pub(super) fn at(input: &'a [u8]) -> Option<Self> {
        let after = input.strip_prefix(BEFORE_TIME)?;
        let (time, after) = after.split_first_chunk::<{ time::TEXT_LEN }>()?;
        let after = after.strip_prefix(BEFORE_TYPE)?;
        let (kind, after) = after.split_at_checked(quote_or_backslash(after)?)?;
        let record = after.strip_prefix(BEFORE_RECORD)?;
        let is_odd = time.iter().fold(false, |odd, byte| odd | matches!(byte, b'"' | b'\\'));
        let envelope = input.get(..input.len().checked_sub(record.len())?.checked_sub(1)?)?;
        (!is_odd).then_some(Self { time, kind, envelope, record })
    }
}

impl<'a> FunctionRecord<'a> {
    /// `None` if it is neither a text nor an object.
    pub(super) fn of(record: &'a [u8]) -> Option<Self> {
        match record.split_first()? {
            (b'"', text) => Some(Self::Text { text, plain: plain_text(text) }),
            (b'{', _) => Some(Self::Object(record)),
            _ => None,
        }
    }

    /// The bytes after its element, if it is whole and holds no evidence.
    pub(super) fn after_quiet(self) -> Option<&'a [u8]> {
        match self {
            Self::Text { text, plain } => {
                let after = text.get(plain.len()..)?.strip_prefix(b"\"}")?;
                let in_doubt = plain.starts_with(b"{")
                    || starts_like_evidence(plain)
                    || signature::has_evidence_word(plain);
                (!in_doubt).then_some(after)
            }
            Self::Object(record) => {
                let after = after_quiet_members(record)?;
                let object = record.get(..record.len().checked_sub(after.len())?)?;
                let after = after.strip_prefix(b"}")?;
                (!signature::has_evidence_word(object)).then_some(after)
            }
        }
    }
}

/// The bytes after an object in compact form. `None` if it is not whole, or if a member's name or
/// the start of its text may make it evidence.
fn after_quiet_members(object: &[u8]) -> Option<&[u8]> {
    walk(object, &|key, text| {
        key != b"errorType" && !(key == b"message" && text.is_some_and(starts_like_evidence))
    })
}

/// True also for a text that is too short to tell, or whose start is escaped.
fn starts_like_evidence(text: &[u8]) -> bool {
    text.first_chunk()
        .is_none_or(|start| start.contains(&b'\\') || signature::is_fatal_start(start))
}

const BEFORE_TIME: &[u8] = b"{\"time\":\"";

const BEFORE_TYPE: &[u8] = b"\",\"type\":\"";

const BEFORE_RECORD: &[u8] = b"\",\"record\":";
