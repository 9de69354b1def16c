//! Looks for bytes in long texts, sixteen at once. Most bytes of a telemetry body are read only
//! here.

use wide::u8x16;

/// A word to look for.
///
/// [`has_word`] first looks for a rare pair of the word: two bytes that few texts have at their
/// distance.
/// `rare_pairs!` below declares the pairs.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub(crate) text: &'static [u8],
    /// Where the window of a rare pair begins in the text.
    pair: usize,
}

impl Word {
    /// The word `text`. It does not compile if `text` has no rare pair, or if escapes of JSON could
    /// hide it or look like its start.
    #[expect(clippy::panic, reason = "evaluated by the compiler, which would refuse to build")]
    pub(crate) const fn new(text: &'static [u8]) -> Self {
        assert_same_when_escaped(text);
        let mut pair = 0_usize;
        while pair.saturating_add(PAIR_WINDOW) <= text.len() {
            if is_rare_pair(text, pair) {
                return Self { text, pair };
            }
            pair = pair.saturating_add(1);
        }
        panic!("this word has no rare pair: declare one of its pairs in find.rs")
    }
}

/// Refuses a word that [`has_word`] would not find at the same places in escaped text
/// ([`plain_text`]) as in the unescaped text.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const fn assert_same_when_escaped(word: &[u8]) {
    let is_end_of_escape = matches!(word[0], b'b' | b'n' | b'r' | b't')
        || word[0].is_ascii_hexdigit() && word[0] != b'f';
    assert!(!is_end_of_escape, "leave out the word's first byte: an escape can end in it");
    let mut at = 0;
    while at < word.len() {
        let is_plain = matches!(word[at], b' '..=b'~') && !matches!(word[at], b'"' | b'\\' | b'/');
        assert!(is_plain, "a byte of this word may be escaped");
        at += 1;
    }
}

/// Declares the rare pairs: the last byte of a window, then the bytes before it that make a pair
/// with it, each with its place in the window. Pairs share bytes, so that few comparisons find all.
macro_rules! rare_pairs {
    ($($last:literal: $($first:literal at $place:literal),+;)+) => {
        /// True if the window of `text` that begins at `at` holds one of the rare pairs.
        #[expect(
            clippy::indexing_slicing,
            clippy::arithmetic_side_effects,
            reason = "evaluated by the compiler, which would refuse to build"
        )]
        const fn is_rare_pair(text: &[u8], at: usize) -> bool {
            match text[at + PAIR_WINDOW - 1] {
                $($last => $(text[at + $place] == $first)||+,)+
                _ => false,
            }
        }

        /// The places at which [`is_rare_pair`] holds.
        fn rare_pairs(block: &[u8; LANES + PAIR_WINDOW - 1]) -> u8x16 {
            let is = |bytes: u8x16, byte: u8| bytes.simd_eq(u8x16::splat(byte));
            let last = after::<{ PAIR_WINDOW - 1 }>(block);
            u8x16::ZERO $(| is(last, $last) & ($(is(after::<$place>(block), $first))|+))+
        }
    };
}

rare_pairs! {
    // `RangeError`, `MemoryError`.
    b'E': b'R' at 0, b'y' at 4;
    // `Runtime`, `of memory`.
    b'm': b'R' at 0, b'f' at 1;
}

/// Bytes from the first to the last that a rare pair may have.
const PAIR_WINDOW: usize = 6;

/// True if one of the words is in `text`.
pub(crate) fn has_word(words: &[Word], text: &[u8]) -> bool {
    let mut from = 0_usize;
    while let Some(at) = text.get(from..).and_then(|rest| far_first(rest, rare_pairs)) {
        let pair = from.saturating_add(at);
        let is_at_pair = |word: &Word| {
            let start = pair.checked_sub(word.pair).and_then(|start| text.get(start..));
            start.is_some_and(|start| start.starts_with(word.text))
        };
        if words.iter().any(is_at_pair) {
            return true;
        }
        from = pair.saturating_add(1);
    }
    false
}

/// The start of `text`, inside a JSON string, in which [`has_word`] finds the same words before and
/// after unescaping. It ends at the closing quote, at an escape that may stand for a letter of a
/// word, or at an incomplete escape.
pub(crate) fn plain_text(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while rest.first() != Some(&b'"') {
        let last_backslash = || rest.strip_suffix(b"\\").map(<[u8]>::len);
        let Some(at) = far_first(rest, odd_escapes_and_ends).or_else(last_backslash) else {
            return text;
        };
        rest = rest.get(at..).unwrap_or_default();
        let len = match rest {
            // `\f` is missing here, since a word begins with that letter.
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'n' | b'r' | b't', ..] => 2,
            [b'\\', b'u', b'0', b'0', b'0' | b'1', digit, ..]
                if digit.is_ascii_hexdigit() && *digit != b'f' =>
            {
                6
            }
            [b'\\', ..] => break,
            _ => 1,
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    text.get(..text.len().saturating_sub(rest.len())).unwrap_or(text)
}

/// The place of the first quote or backslash.
pub(crate) fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    first(text, quotes_and_backslashes)
}

/// The first place in `text` that `marks` marks. A block is sixteen places and the bytes after them
/// that `marks` looks at. `marks` must not match the zero padding after the end of `text`.
fn first<const N: usize>(text: &[u8], marks: impl Fn(&[u8; N]) -> u8x16) -> Option<usize> {
    let mut rest = text;
    let mut marked = 0;
    while let Some(block) = rest.first_chunk() {
        marked = marks(block).to_bitmask();
        if marked != 0 {
            break;
        }
        rest = rest.get(LANES..).unwrap_or_default();
    }
    if marked == 0 {
        // The last block overlaps places that were searched already.
        rest = text.get(text.len().saturating_sub(N)..).unwrap_or(text);
        let mut end = [0; N];
        end.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
        marked = marks(&end).to_bitmask();
    }
    let at = usize::try_from(marked.trailing_zeros()).ok().filter(|_| marked != 0)?;
    text.len().checked_sub(rest.len())?.checked_add(at)
}

/// Does the same for a place that is probably far away. It reads two blocks at once, which is a
/// seventh faster for lines of 1,000 bytes.
fn far_first<const N: usize>(text: &[u8], marks: impl Fn(&[u8; N]) -> u8x16) -> Option<usize> {
    let mut rest = text;
    while let Some(low) = rest.first_chunk()
        && let Some(high) = rest.get(LANES..).and_then(<[u8]>::first_chunk)
        && (marks(low) | marks(high)).to_bitmask() == 0
    {
        rest = rest.get(2 * LANES..).unwrap_or_default();
    }
    text.len().checked_sub(rest.len())?.checked_add(first(rest, marks)?)
}

/// The bytes `DISTANCE` after each of a block's places. The functions below return 0xff for each
/// place that they mark.
fn after<const DISTANCE: usize>(block: &[u8]) -> u8x16 {
    let bytes = block.get(DISTANCE..).and_then(<[u8]>::first_chunk);
    bytes.map_or(u8x16::ZERO, |bytes| u8x16::new(*bytes))
}

fn quotes_and_backslashes(block: &[u8; LANES]) -> u8x16 {
    let here = after::<0>(block);
    here.simd_eq(u8x16::splat(b'"')) | here.simd_eq(u8x16::splat(b'\\'))
}

/// Marks the start of an escape other than four common ones, and the last byte of a string. It does
/// not mark a string that ends at once, nor a backslash at the very end of a text.
fn odd_escapes_and_ends(block: &[u8; LANES + 1]) -> u8x16 {
    let escape = after::<0>(block).simd_eq(u8x16::splat(b'\\'));
    let next = after::<1>(block);
    let quote = next.simd_eq(u8x16::splat(b'"'));
    let usual = quote
        | next.simd_eq(u8x16::splat(b'n'))
        | next.simd_eq(u8x16::splat(b't'))
        | next.simd_eq(u8x16::splat(b'r'));
    escape & !usual | quote & !escape
}

/// Places in one block.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::scan::mention::WORDS;

    /// [`plain_text`], byte by byte.
    fn plain_len(text: &[u8]) -> usize {
        let mut at = 0;
        while at < text.len() && text[at] != b'"' {
            let escape: &[u8] = if text[at] == b'\\' { &text[at + 1..] } else { b"plain" };
            at += match escape {
                b"plain" => 1,
                [b'"' | b'\\' | b'/' | b'b' | b'n' | b'r' | b't', ..] => 2,
                [b'u', b'0', b'0', b'0' | b'1', b'0'..=b'9' | b'a'..=b'e' | b'A'..=b'F', ..] => 6,
                _ => return at,
            };
        }
        at
    }

    /// Each text of `len` of these bytes, at several places of a longer text.
    fn each_text(bytes: &[u8], len: u32, mut check: impl FnMut(&[u8])) {
        let count = u32::try_from(bytes.len()).unwrap();
        for number in 0..count.pow(len) {
            let mut left = number;
            let text: Vec<u8> = (0..len)
                .map(|_| {
                    let byte = bytes[(left % count) as usize];
                    left /= count;
                    byte
                })
                .collect();
            for (before, after) in
                [(0, 0), (3, 40), (13, 1), (14, 20), (15, 0), (16, 2), (22, 7), (37, 0)]
            {
                let mut long = vec![b'x'; before];
                long.extend_from_slice(&text);
                long.extend(vec![b'x'; after]);
                check(&long);
            }
        }
    }

    #[test]
    fn plain_text_ends_where_it_does_byte_by_byte() {
        each_text(b"\\\"nufx", 5, |text| {
            assert_eq!(plain_text(text).len(), plain_len(text), "{}", text.escape_ascii());
        });
        each_text(b"01fgF", 2, |digits| {
            let mut text = b"abc\\u00".to_vec();
            text.extend_from_slice(digits);
            assert_eq!(plain_text(&text).len(), plain_len(&text), "{}", text.escape_ascii());
        });
    }

    #[test]
    fn quotes_and_backslashes_are_found_where_they_are() {
        each_text(b"\\\"x", 3, |text| {
            let expected = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            assert_eq!(quote_or_backslash(text), expected, "{}", text.escape_ascii());
        });
    }

    #[test]
    fn the_places_of_rare_pairs_are_marked() {
        each_text(b"REyfmx", 6, |text| {
            let expected =
                (0..text.len().saturating_sub(PAIR_WINDOW - 1)).find(|at| is_rare_pair(text, *at));
            assert_eq!(first(text, rare_pairs), expected, "{}", text.escape_ascii());
        });
    }

    #[test]
    fn words_are_found_wherever_they_are() {
        for word in WORDS {
            for (before, after) in
                (0..40).flat_map(|before| [0, 1, 5, 9, 30].map(|after| (before, after)))
            {
                let mut text = vec![b'y'; before];
                text.extend_from_slice(word.text);
                text.extend(vec![b'E'; after]);
                assert!(has_word(&WORDS, &text), "{}", text.escape_ascii());
                text[before + word.pair] = b'_';
                assert!(!has_word(&WORDS, &text), "{}", text.escape_ascii());
            }
        }
    }
}
