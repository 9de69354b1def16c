//! Elements of the batch that are read at once, in the shape in which Lambda writes them: most of all.
//!
//! In: bytes at an element. Out: its envelope; for a function's, what lies behind it, if it is whole and
//! plainly without evidence. Whatever is in doubt is left to the lexer, which reads the same bytes from
//! their start: this only saves time, and changes no event.

use crate::scan::compact::walk;
use crate::scan::find::{plain_text, quote_or_backslash};
use crate::scan::signature;

/// The start of an element: `{"time":"...","type":"...","record":`.
pub(super) struct Element<'a> {
    pub(super) time: &'a [u8],
    pub(super) kind: &'a [u8],
    /// Everything before the record's colon.
    pub(super) envelope: &'a [u8],
    /// Everything behind it.
    pub(super) record: &'a [u8],
}

/// What a function's record begins with.
#[derive(Clone, Copy)]
pub(super) enum FunctionRecord<'a> {
    /// A text: everything behind its opening quote, and the start of that which is plain.
    Text { text: &'a [u8], plain: &'a [u8] },
    /// An object: everything from its brace on.
    Object(&'a [u8]),
}

impl<'a> Element<'a> {
    /// `None` if `input` starts otherwise, or ends too soon.
    pub(super) fn at(input: &'a [u8]) -> Option<Self> {
        let behind = input.strip_prefix(BEFORE_TIME)?;
        let (time, behind) = behind.split_first_chunk::<TIME_LEN>()?;
        let behind = behind.strip_prefix(BEFORE_TYPE)?;
        let (kind, behind) = behind.split_at_checked(quote_or_backslash(behind)?)?;
        let record = behind.strip_prefix(BEFORE_RECORD)?;
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

    /// What follows its element, if it is whole and holds no evidence.
    pub(super) fn behind_quiet(self) -> Option<&'a [u8]> {
        match self {
            Self::Text { text, plain } => {
                let behind = text.get(plain.len()..)?.strip_prefix(b"\"}")?;
                let in_doubt = plain.starts_with(b"{")
                    || starts_like_evidence(plain)
                    || signature::has_evidence_word(plain);
                (!in_doubt).then_some(behind)
            }
            Self::Object(record) => {
                let behind = behind_quiet_members(record)?;
                let object = record.get(..record.len().checked_sub(behind.len())?)?;
                let behind = behind.strip_prefix(b"}")?;
                (!signature::has_evidence_word(object)).then_some(behind)
            }
        }
    }
}

/// What follows an object in compact form. `None` if it is not whole, or if a member's name or how
/// its text starts may make it evidence.
fn behind_quiet_members(object: &[u8]) -> Option<&[u8]> {
    walk(object, &|key, text| {
        key != b"errorType" && !(key == b"message" && text.is_some_and(starts_like_evidence))
    })
}

/// True also for a text whose start is escaped, or that is too short to tell.
fn starts_like_evidence(text: &[u8]) -> bool {
    text.first_chunk()
        .is_none_or(|start| start.contains(&b'\\') || signature::is_fatal_start(start))
}

const BEFORE_TIME: &[u8] = b"{\"time\":\"";

/// `2026-11-22T07:34:59.678Z`.
const TIME_LEN: usize = 24;

const BEFORE_TYPE: &[u8] = b"\",\"type\":\"";

const BEFORE_RECORD: &[u8] = b"\",\"record\":";
