//! A signature that could never match does not compile.
//!
//! The scanner looks closely only at texts with a known start or an evidence word, and at objects
//! with an `errorType`. Of each text it keeps only the first bytes.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which would refuse to build"
)]

use super::{ERROR_TYPES, EVIDENCE_WORDS, FATAL, Pattern, START_LEN, UNHANDLED};
use crate::sizes::{ERROR_TYPE_SIZE, HEAD_SIZE};

const _: () = {
    assert!(
        are_looked_at(FATAL, START_LEN),
        "a row of FATAL needs a start of 4 bytes, or an evidence word"
    );
    assert!(are_looked_at(UNHANDLED, usize::MAX), "a row of UNHANDLED needs an evidence word");
    assert!(fit_the_head(FATAL) && fit_the_head(UNHANDLED), "a row is longer than HEAD_SIZE");
    assert!(fit_an_error_type(), "a row of ERROR_TYPES is longer than ERROR_TYPE_SIZE");
};

/// True if each row has an evidence word or a start of at least `start_len` bytes.
const fn are_looked_at(rows: &[Pattern], start_len: usize) -> bool {
    let mut row = 0;
    while row < rows.len() {
        let [start, end] = rows[row].literals();
        if start.len() < start_len && !contains_word(start) && !contains_word(end) {
            return false;
        }
        row += 1;
    }
    true
}

/// [`has_evidence_word`](super::has_evidence_word) for the compiler.
const fn contains_word(text: &[u8]) -> bool {
    let mut row = 0;
    while row < EVIDENCE_WORDS.len() {
        let word = EVIDENCE_WORDS[row].text;
        let mut at = 0;
        while at + word.len() <= text.len() {
            let mut matched = 0;
            while matched < word.len() && text[at + matched] == word[matched] {
                matched += 1;
            }
            if matched == word.len() {
                return true;
            }
            at += 1;
        }
        row += 1;
    }
    false
}

/// True if each row's texts are shorter than what is kept of a record.
const fn fit_the_head(rows: &[Pattern]) -> bool {
    let mut row = 0;
    while row < rows.len() {
        let [start, end] = rows[row].literals();
        if start.len() + end.len() >= HEAD_SIZE {
            return false;
        }
        row += 1;
    }
    true
}

/// True if each of [`ERROR_TYPES`] is shorter than what is kept of an `errorType`.
const fn fit_an_error_type() -> bool {
    let mut row = 0;
    while row < ERROR_TYPES.len() {
        if ERROR_TYPES[row].len() >= ERROR_TYPE_SIZE {
            return false;
        }
        row += 1;
    }
    true
}
