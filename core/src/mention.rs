//! Finds the words that may mean an out-of-memory error, anywhere in a text that streams past.
//!
//! In: the text in pieces. Out: whether one of the [`WORDS`] has been in it. A word on its own
//! proves little: it is the weakest evidence there is.

/// The substrings that a widely used extension counts as out of memory. `java.lang.OutOfMemoryError`
/// and `failed to allocate memory (NoMemoryError)` hold `MemoryError` and need no row of their own.
const WORDS: [&[u8]; 5] = [
    b"fatal error: runtime: out of memory",
    b"JavaScript heap out of memory",
    b"Runtime exited with error: signal: killed",
    b"MemoryError",
    b"OutOfMemoryException",
];

/// How much of each word the text now ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mention {
    matched: [u8; WORDS.len()],
    found: bool,
}

impl Mention {
    pub(crate) const fn new() -> Self {
        Self { matched: [0; WORDS.len()], found: false }
    }

    /// Takes the next piece of the text. Costs a few steps for each byte, until a word is found.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        for byte in piece {
            for (matched, (word, borders)) in
                self.matched.iter_mut().zip(WORDS.iter().zip(&BORDERS))
            {
                *matched = step(word, borders, *matched, *byte);
                self.found |= usize::from(*matched) == word.len();
            }
            if self.found {
                return;
            }
        }
    }

    pub(crate) const fn is_found(&self) -> bool {
        self.found
    }
}

/// Knuth, Morris and Pratt: the length of the longest start of `word` that the text now ends with.
fn step(word: &[u8], borders: &[u8; WORD_MAX], mut matched: u8, byte: u8) -> u8 {
    loop {
        if word.get(usize::from(matched)) == Some(&byte) {
            return matched.saturating_add(1);
        }
        if matched == 0 {
            return 0;
        }
        matched = borders.get(usize::from(matched)).copied().unwrap_or(0);
    }
}

/// One more than the longest word.
const WORD_MAX: usize = 48;

/// For each word and each length: the longest proper start of the word that such a start ends with.
const BORDERS: [[u8; WORD_MAX]; WORDS.len()] = all_borders();

#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const fn all_borders() -> [[u8; WORD_MAX]; WORDS.len()] {
    let mut all = [[0; WORD_MAX]; WORDS.len()];
    let mut row = 0;
    while row < WORDS.len() {
        all[row] = borders(WORDS[row]);
        row += 1;
    }
    all
}

#[expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const fn borders(word: &[u8]) -> [u8; WORD_MAX] {
    let mut table = [0; WORD_MAX];
    let mut len = 2;
    while len <= word.len() {
        let mut border = table[len - 1] as usize;
        while border > 0 && word[border] != word[len - 1] {
            border = table[border] as usize;
        }
        table[len] = if word[border] == word[len - 1] { border as u8 + 1 } else { 0 };
        len += 1;
    }
    table
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
    fn finds_each_word_anywhere() {
        for word in WORDS {
            let word = core::str::from_utf8(word).unwrap();
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
    fn nothing_else() {
        for text in ["", "memoryerror", "Memory Error", "MemoryErro", "out of memory", "MMemoryErr"]
        {
            assert!(!finds(text), "{text}");
        }
    }
}
