//! Knows function records that say nothing of memory: most of what a function prints.
//!
//! In: bytes at an element of the batch. Out: what lies behind it, if it is whole, in the shape in
//! which Lambda writes it, and plainly without evidence. Whatever is in doubt is left to the lexer,
//! which reads the same bytes from their start: this only saves time, and changes no event.

use crate::find::{plain_text, quote_or_backslash};
use crate::lexer::is_of_number;
use crate::signature;

/// The start of a function record, as Lambda writes it: `{"time":"...","type":"function","record":`.
pub(super) struct FunctionElement<'a> {
    pub(super) time: &'a [u8],
    /// Everything before the record's colon.
    pub(super) envelope: &'a [u8],
    pub(super) record: FunctionRecord<'a>,
}

/// What the record begins with.
#[derive(Clone, Copy)]
pub(super) enum FunctionRecord<'a> {
    /// A text: everything behind its opening quote, and the start of that which is plain.
    Text { text: &'a [u8], plain: &'a [u8] },
    /// An object: everything from its brace on.
    Object(&'a [u8]),
}

impl<'a> FunctionElement<'a> {
    /// `None` if `input` starts otherwise, or ends too soon.
    pub(super) fn at(input: &'a [u8]) -> Option<Self> {
        let behind = input.strip_prefix(BEFORE_TIME)?;
        let (time, behind) = behind.split_first_chunk::<TIME_LEN>()?;
        let record = behind.strip_prefix(BEFORE_RECORD)?;
        let record = match record.split_first()? {
            (b'"', text) => FunctionRecord::Text { text, plain: plain_text(text) },
            (b'{', _) => FunctionRecord::Object(record),
            _ => return None,
        };
        let is_odd = time.iter().fold(false, |odd, byte| odd | matches!(byte, b'"' | b'\\'));
        let envelope = input.get(..ENVELOPE_LEN)?;
        (!is_odd).then_some(Self { time, envelope, record })
    }

    /// What follows the element, if it is whole and holds no evidence.
    pub(super) fn behind_quiet(&self) -> Option<&'a [u8]> {
        match self.record {
            FunctionRecord::Text { text, plain } => {
                let behind = text.get(plain.len()..)?.strip_prefix(b"\"}")?;
                let in_doubt = plain.starts_with(b"{")
                    || starts_like_evidence(plain)
                    || signature::has_evidence_word(plain);
                (!in_doubt).then_some(behind)
            }
            FunctionRecord::Object(record) => {
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

/// The name of a member in compact form, if it has no escapes, and its value with all that follows.
pub(super) fn member(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = string(input)?;
    (!key.contains(&b'\\')).then_some((key, rest.strip_prefix(b":")?))
}

/// What follows a value in compact form, if it is whole.
pub(super) fn behind_value(value: &[u8]) -> Option<&[u8]> {
    walk(value, &|_, _| true)
}

/// Judges a member by its name and its text, where it has one; outside of objects the name is empty.
type IsQuiet = dyn Fn(&[u8], Option<&[u8]>) -> bool;

/// What follows a value in compact form. `None` if it is not whole, or if something in it is not
/// `quiet`.
fn walk<'a>(value: &'a [u8], quiet: &IsQuiet) -> Option<&'a [u8]> {
    let mut rest = value;
    // One bit for each open container, the innermost lowest: 1 for an object; above them a 1.
    let mut open = 1_u32;
    loop {
        let mut key: &[u8] = b"";
        if open > 1 && open & 1 == 1 {
            (key, rest) = string(rest)?;
            rest = rest.strip_prefix(b":")?;
        }
        let mut text = None;
        match rest.split_first()? {
            (b'"', _) => {
                let plain;
                (plain, rest) = string(rest)?;
                text = Some(plain);
            }
            (bracket @ (b'{' | b'['), behind) => {
                if open.leading_zeros() == 0 || !quiet(key, None) {
                    return None;
                }
                open = open << 1 | u32::from(*bracket == b'{');
                rest = behind;
                if !matches!(rest.first(), Some(b'}' | b']')) {
                    continue;
                }
            }
            _ => rest = behind_scalar(rest)?,
        }
        if !quiet(key, text) {
            return None;
        }
        loop {
            if open == 1 {
                return Some(rest);
            }
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            match (byte, open & 1 == 1) {
                (b',', _) => break,
                (b'}', true) | (b']', false) => open >>= 1,
                _ => return None,
            }
        }
    }
}

/// A whole plain string and what follows it.
fn string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = input.strip_prefix(b"\"")?;
    let end = quote_or_backslash(text)?;
    let plain = match text.get(end)? {
        b'"' => text.get(..end)?,
        _ => plain_text(text),
    };
    Some((plain, text.get(plain.len()..)?.strip_prefix(b"\"")?))
}

fn behind_scalar(input: &[u8]) -> Option<&[u8]> {
    match input.first()? {
        b't' => input.strip_prefix(b"true"),
        b'f' => input.strip_prefix(b"false"),
        b'n' => input.strip_prefix(b"null"),
        b'-' | b'0'..=b'9' => input.get(input.iter().position(|byte| !is_of_number(*byte))?..),
        _ => None,
    }
}

/// True also for a text whose start is escaped, or that is too short to tell.
fn starts_like_evidence(text: &[u8]) -> bool {
    text.first_chunk()
        .is_none_or(|start| start.contains(&b'\\') || signature::is_fatal_start(start))
}

const BEFORE_TIME: &[u8] = b"{\"time\":\"";

/// `2026-11-22T07:34:59.678Z`.
const TIME_LEN: usize = 24;

const BEFORE_RECORD: &[u8] = b"\",\"type\":\"function\",\"record\":";

const ENVELOPE_LEN: usize = BEFORE_TIME.len() + TIME_LEN + BEFORE_RECORD.len() - b":".len();
