//! Finds the words that may mean an out-of-memory error, anywhere in a text.
//!
//! In: the text, in pieces. Out: whether it holds one of the [`WORDS`]. A word alone is the weakest
//! evidence.

use crate::buffer::Bytes;
use crate::scan::find::{Word, has_word};

/// The substrings that a widely used extension counts as out of memory.
/// `java.lang.OutOfMemoryError` and `failed to allocate memory (NoMemoryError)` contain
/// `MemoryError` and need no row of their own.
pub(crate) const WORDS: [Word; 5] = [
    Word::new(b"fatal error: runtime: out of memory"),
    Word::new(b"JavaScript heap out of memory"),
    Word::new(b"Runtime exited with error: signal: killed"),
    Word::new(b"MemoryError"),
    Word::new(b"OutOfMemoryException"),
];

/// Searches a text that comes in pieces. A word may begin in one piece and end in another.
pub(crate) struct Mention {
    /// The last bytes of the text, in which a word may have begun.
    tail: Bytes<TAIL>,
    is_found: bool,
}

impl Mention {
    pub(crate) const fn new() -> Self {
        Self { tail: Bytes::new(), is_found: false }
    }

    /// Takes the next piece of the text.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.is_found {
            return;
        }
        let mut seam = Bytes::<{ 2 * TAIL }>::new();
        seam.append(&self.tail);
        seam.append(piece.get(..TAIL).unwrap_or(piece));
        self.is_found = seam.len() >= SHORTEST && has_word(&WORDS, &seam)
            || piece.len() > TAIL && has_word(&WORDS, piece);
        let last = if piece.len() > TAIL { piece } else { &seam };
        self.tail.clear();
        self.tail.append(last.get(last.len().saturating_sub(TAIL)..).unwrap_or(last));
    }

    /// Ends the text: no word continues in the next one.
    pub(crate) fn end_text(&mut self) {
        self.tail.clear();
    }

    pub(crate) const fn is_found(&self) -> bool {
        self.is_found
    }
}

/// One less than the longest word.
const TAIL: usize = word_lengths().1.saturating_sub(1);

/// The shortest word.
const SHORTEST: usize = word_lengths().0;

/// The lengths of the shortest and of the longest word.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const fn word_lengths() -> (usize, usize) {
    let (mut shortest, mut longest) = (usize::MAX, 0);
    let mut row = 0;
    while row < WORDS.len() {
        let len = WORDS[row].text.len();
        if len < shortest {
            shortest = len;
        }
        if len > longest {
            longest = len;
        }
        row += 1;
    }
    (shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str) -> bool {
        let whole = {
            let mut mention = Mention::new();
            mention.feed(text.as_bytes());
            mention.is_found()
        };
        let mut mention = Mention::new();
        for byte in text.as_bytes() {
            mention.feed(&[*byte]);
        }
        assert_eq!(mention.is_found(), whole, "split: {text}");
        whole
    }

    #[test]
    fn each_word_is_found_anywhere() {
        for word in WORDS {
            assert!((SHORTEST..=TAIL + 1).contains(&word.text.len()));
            let word = core::str::from_utf8(word.text).unwrap();
            assert!(finds(word));
            let half = &word[..word.len() / 2];
            for (before, after) in [("x", ""), ("", "y"), (half, "z"), (&word[..1], &word[..1])] {
                let mut text = heapless::String::<256>::new();
                text.push_str(before).unwrap();
                text.push_str(word).unwrap();
                text.push_str(after).unwrap();
                assert!(finds(&text), "{text}");
            }
        }
        assert!(finds("java.lang.OutOfMemoryError: Java heap space"));
        assert!(finds("failed to allocate memory (NoMemoryError)"));
    }

    #[test]
    fn no_other_text_is_a_mention() {
        for text in ["", "memoryerror", "Memory Error", "MemoryErro", "out of memory", "MMemoryErr"]
        {
            assert!(!finds(text), "{text}");
        }
    }
}
