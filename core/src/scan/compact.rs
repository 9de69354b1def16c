//! Reads whole members of compact JSON at once, which is what Lambda mostly writes.
//!
//! In: bytes that begin with a value or a member. Out: its text, and the bytes after it. At blanks,
//! odd escapes or a missing end it reads nothing, and the lexer reads the same bytes from their
//! start. So this file only saves time.

use crate::scan::find::{plain_text, quote_or_backslash};

/// The bytes after `byte`, if `input` begins with it. `strip_prefix` would call memcmp.
pub(crate) fn after(byte: u8, input: &[u8]) -> Option<&[u8]> {
    input.split_first().filter(|(first, _)| **first == byte).map(|(_, rest)| rest)
}

/// A member's name, if it has no escapes, and the bytes from its value on.
pub(crate) fn member(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = unescaped(input)?;
    Some((key, after(b':', rest)?))
}

/// A string without escapes, and the bytes after it.
pub(crate) fn unescaped(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = after(b'"', input)?;
    let (text, rest) = text.split_at_checked(quote_or_backslash(text)?)?;
    Some((text, after(b'"', rest)?))
}

/// True for each byte that a number can contain.
pub(crate) const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// A whole number without a sign, and the bytes after it.
pub(crate) fn whole_number(input: &[u8]) -> Option<(u64, &[u8])> {
    let digits = input.iter().position(|byte| !byte.is_ascii_digit())?;
    let (number, rest) = input.split_at_checked(digits)?;
    let is_more = rest.first().is_none_or(|byte| is_of_number(*byte));
    // More digits may not fit.
    if is_more || !(1..20).contains(&digits) {
        return None;
    }
    let value = number.iter().fold(0_u64, |value, digit| {
        value.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))
    });
    Some((value, rest))
}

/// The bytes after a value, if it is whole.
pub(crate) fn after_value(value: &[u8]) -> Option<&[u8]> {
    walk(value, &|_, _| true)
}

/// Judges a member by its name, and by its text if it has one. Outside objects the name is empty.
pub(crate) type IsQuiet = dyn Fn(&[u8], Option<&[u8]>) -> bool;

/// The bytes after a value. `None` if it is not whole, or if a member in it is not `quiet`.
pub(crate) fn walk<'a>(value: &'a [u8], quiet: &IsQuiet) -> Option<&'a [u8]> {
    let mut rest = value;
    // One bit for each open container, the innermost lowest: 1 for an object. Above them stands a
    // 1.
    let mut open = 1_u32;
    loop {
        let mut key: &[u8] = b"";
        if open > 1 && open & 1 == 1 {
            (key, rest) = string(rest)?;
            rest = after(b':', rest)?;
        }
        let mut text = None;
        match rest.split_first()? {
            (b'"', _) => {
                let plain;
                (plain, rest) = string(rest)?;
                text = Some(plain);
            }
            (bracket @ (b'{' | b'['), after) => {
                if open.leading_zeros() == 0 || !quiet(key, None) {
                    return None;
                }
                open = open << 1 | u32::from(*bracket == b'{');
                rest = after;
                if !matches!(rest.first(), Some(b'}' | b']')) {
                    continue;
                }
            }
            _ => rest = after_scalar(rest)?,
        }
        if !quiet(key, text) {
            return None;
        }
        loop {
            if open == 1 {
                return Some(rest);
            }
            let (byte, after) = rest.split_first()?;
            rest = after;
            match (byte, open & 1 == 1) {
                (b',', _) => break,
                (b'}', true) | (b']', false) => open >>= 1,
                _ => return None,
            }
        }
    }
}

/// A whole plain string, with its escapes, and the bytes after it.
fn string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    unescaped(input).or_else(|| {
        let text = after(b'"', input)?;
        let plain = plain_text(text);
        Some((plain, after(b'"', text.get(plain.len()..)?)?))
    })
}

fn after_scalar(input: &[u8]) -> Option<&[u8]> {
    match input.first()? {
        b't' => input.strip_prefix(b"true"),
        b'f' => input.strip_prefix(b"false"),
        b'n' => input.strip_prefix(b"null"),
        b'-' | b'0'..=b'9' => input.get(input.iter().position(|byte| !is_of_number(*byte))?..),
        _ => None,
    }
}
