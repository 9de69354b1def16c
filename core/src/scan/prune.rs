//! Prunes a JSON object to a fixed list of members, in a fixed buffer, for serde-json-core to read.
//!
//! In: the tokens of an object of any size. Out: `{"requestId":"...","memorySizeMB":128}`: flat,
//! ASCII only, numbers as integers, long strings clipped, the first of duplicate members. Members
//! are taken from the object itself and from its member `metrics`.

use serde::de::DeserializeOwned;

use crate::buffer::Bytes;
use crate::decimal::{DIGITS_MAX, decimal};
use crate::limits::{FUNCTION_NAME_MAX, RECORD_SIZE};
use crate::scan::compact;
use crate::scan::lexer::{Lexer, Token};

/// The buffer, and where in the object the tokens are.
pub(crate) struct Pruner {
    out: Bytes<RECORD_SIZE>,
    key: Bytes<KEY_SIZE>,
    /// Depth of the object's own members.
    depth: u32,
    /// Members of the member `metrics` are taken too.
    takes_metrics: bool,
    in_metrics: bool,
    /// Bit `n` is set when `KEYS[n]` has been taken.
    taken: u32,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    /// Between members, or in a value that is not kept.
    Idle,
    /// In a member's name.
    Key,
    /// Before the value of `KEYS[n]`.
    Value(usize),
    /// Before the value of `metrics`.
    Metrics,
    /// In a string value: where the member began in the output, and how many bytes it may still
    /// take.
    Copying { start: usize, left: usize },
}

impl Pruner {
    pub(crate) const fn new() -> Self {
        Self {
            out: Bytes::new(),
            key: Bytes::new(),
            depth: 0,
            takes_metrics: true,
            in_metrics: false,
            taken: 0,
            step: Step::Idle,
        }
    }

    /// Forgets what was there; the next object's own members are at `depth`.
    pub(crate) fn start(&mut self, depth: u32) {
        self.out.clear();
        self.push(b"{");
        self.depth = depth;
        self.takes_metrics = true;
        self.in_metrics = false;
        self.taken = 0;
        self.step = Step::Idle;
    }

    /// The same for an answer of the Extensions API: only its own members, and only those it can have.
    pub(crate) fn start_answer(&mut self) {
        self.start(1);
        self.takes_metrics = false;
        self.taken = u32::MAX << ANSWER_KEYS;
    }

    /// Takes the next token of the object; `depth` is the lexer's behind it.
    pub(crate) fn token(&mut self, token: &Token<'_>, depth: u32) {
        let is_member = self.is_member(depth);
        self.step = match (token, self.step) {
            (Token::KeyStart, _) if is_member => {
                self.key.clear();
                Step::Key
            }
            (Token::Text(run), Step::Key) => {
                // A name that is too long is no name of ours; its clipped form is as long as the
                // buffer, and so is none either.
                self.key.append(run);
                Step::Key
            }
            (Token::Unit(unit), Step::Key) => {
                self.key.append(&[ascii(*unit)]);
                Step::Key
            }
            (Token::KeyEnd, Step::Key) => self.key_end(),
            (Token::Open, Step::Metrics) => {
                self.in_metrics = true;
                Step::Idle
            }
            (Token::Close, _) => {
                self.in_metrics &= depth > self.depth;
                Step::Idle
            }
            (Token::StringStart, Step::Value(index)) => self.string_start(index),
            (Token::Number(Some(value)), Step::Value(index)) => self.number(index, *value),
            (Token::Text(run), Step::Copying { start, left }) => self.copy_run(start, left, run),
            (Token::Unit(unit), step @ Step::Copying { .. }) => self.copy(step, ascii(*unit)),
            (Token::StringEnd, Step::Copying { .. }) => {
                self.close(b'"');
                Step::Idle
            }
            _ => Step::Idle,
        };
    }

    /// True if members that may be kept lie at this depth.
    fn is_member(&self, depth: u32) -> bool {
        depth == self.depth || self.in_metrics && depth == self.depth.saturating_add(1)
    }

    /// Takes the next members at once, or passes over them, as long as they are whole in `rest` and
    /// plain. What is left of it is for the lexer.
    pub(crate) fn take_members(&mut self, lexer: &mut Lexer, rest: &mut &[u8]) {
        if !self.is_member(lexer.depth()) {
            return;
        }
        while let Some((key, value)) = lexer.at_member(rest).and_then(compact::member) {
            let behind = match self.step_for(key) {
                Step::Value(index) => self.take_value(index, value),
                Step::Metrics => {
                    let Some(members) = compact::after(b'{', value) else { return };
                    lexer.enter_object();
                    self.in_metrics = true;
                    *rest = members;
                    continue;
                }
                _ => compact::behind_value(value),
            };
            let Some(behind) = behind else { return };
            lexer.pass_value();
            *rest = behind;
        }
    }

    /// Takes a plain value; what follows it.
    fn take_value<'a>(&mut self, index: usize, value: &'a [u8]) -> Option<&'a [u8]> {
        if let Some((number, behind)) = compact::whole_number(value) {
            self.number(index, number);
            return Some(behind);
        }
        let (text, behind) = compact::unescaped(value)?;
        let mut step = self.string_start(index);
        if let Step::Copying { start, left } = step {
            step = self.copy_run(start, left, text);
        }
        if let Step::Copying { .. } = step {
            self.close(b'"');
        }
        Some(behind)
    }

    /// What was kept, read into `T`; `None` if a kept member is not of the type that `T` wants.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        let length = self.out.len();
        self.close(b'}');
        let mut unescaped = [0; STRING_MAX];
        let read = serde_json_core::from_slice_escaped(&self.out, &mut unescaped);
        self.out.truncate(length);
        let (value, _) = read.ok()?;
        Some(value)
    }

    fn key_end(&self) -> Step {
        self.step_for(&self.key)
    }

    /// What the value of a member of this name is for.
    fn step_for(&self, key: &[u8]) -> Step {
        if *key == *METRICS && self.takes_metrics && !self.in_metrics {
            return Step::Metrics;
        }
        if LENGTHS.checked_shr(u32::try_from(key.len()).unwrap_or(u32::MAX)).unwrap_or(0) & 1 == 0 {
            return Step::Idle;
        }
        KEYS.iter()
            .position(|(name, _)| *name.as_bytes() == *key)
            .filter(|index| self.taken & 1 << index == 0)
            .map_or(Step::Idle, Step::Value)
    }

    fn string_start(&mut self, index: usize) -> Step {
        let Some((_, left @ 1..)) = KEYS.get(index).copied() else {
            return Step::Idle;
        };
        let start = self.out.len();
        if !self.begin_member(index) || !self.push(b"\"") {
            self.out.truncate(start);
            return Step::Idle;
        }
        Step::Copying { start, left }
    }

    fn number(&mut self, index: usize, value: u64) -> Step {
        let Some((_, 0)) = KEYS.get(index) else {
            return Step::Idle;
        };
        let start = self.out.len();
        let mut digits = [0; DIGITS_MAX];
        if !self.begin_member(index) || !self.push(decimal(value, &mut digits)) {
            self.out.truncate(start);
        }
        Step::Idle
    }

    /// Writes `,"key":`. False if it does not fit.
    fn begin_member(&mut self, index: usize) -> bool {
        self.taken |= 1 << index;
        let key = KEYS.get(index).map_or("", |(key, _)| key);
        (self.out.len() <= 1 || self.push(b","))
            && self.push(b"\"")
            && self.push(key.as_bytes())
            && self.push(b"\":")
    }

    /// Copies a piece of a string, at once if it is plain.
    fn copy_run(&mut self, start: usize, left: usize, run: &[u8]) -> Step {
        let run = run.get(..left).unwrap_or(run);
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if run.iter().all(is_plain) && self.push(run) {
            return Step::Copying { start, left: left.saturating_sub(run.len()) };
        }
        run.iter().fold(Step::Copying { start, left }, |step, byte| self.copy(step, *byte))
    }

    /// Copies one byte of a string, as ASCII. A member that outgrows the buffer is taken back.
    fn copy(&mut self, step: Step, byte: u8) -> Step {
        let Step::Copying { start, left: left @ 1.. } = step else {
            return step;
        };
        let fits = match byte {
            b'"' | b'\\' => self.push(&[b'\\', byte]),
            b' '..=b'~' => self.push(&[byte]),
            _ => self.push(&[NO_ASCII]),
        };
        if !fits {
            self.out.truncate(start);
            return Step::Idle;
        }
        Step::Copying { start, left: left.saturating_sub(1) }
    }

    /// Appends, and leaves room for what closes a string and the object. False if it does not fit.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = RECORD_SIZE.saturating_sub(CLOSING.len()).saturating_sub(self.out.len());
        bytes.len() <= room && self.out.push(bytes)
    }

    /// Closes a string or the object, for which there is room.
    fn close(&mut self, byte: u8) {
        self.out.push(&[byte]);
    }
}

fn ascii(unit: u16) -> u8 {
    u8::try_from(unit).unwrap_or(NO_ASCII)
}

/// The member whose own members are looked at too.
const METRICS: &[u8] = b"metrics";

/// Every member that is kept: a string with the number of its bytes, or 0 for a number. Answers of the
/// Extensions API have the first [`ANSWER_KEYS`], records the last ones.
const KEYS: [(&str, usize); 14] = [
    ("accountId", 16),
    ("deadlineMs", 0),
    ("eventType", 16),
    ("functionName", FUNCTION_NAME_MAX),
    ("functionVersion", 24),
    ("shutdownReason", 32),
    ("errorType", 48),
    ("requestId", 40),
    ("droppedRecords", 0),
    ("initializationType", 32),
    ("maxMemoryUsedMB", 0),
    ("memorySizeMB", 0),
    ("phase", 16),
    ("status", 16),
];

const ANSWER_KEYS: u32 = 8;

/// Bit `n` is set if a name in [`KEYS`] has `n` bytes.
#[expect(clippy::indexing_slicing, reason = "in a constant: it would not compile")]
const LENGTHS: u32 = {
    let (mut lengths, mut index) = (0, 0);
    while index < KEYS.len() {
        lengths |= 1 << KEYS[index].0.len();
        index += 1;
    }
    lengths
};

/// Stands for what is no printable ASCII: no request id, status or error type has it.
const NO_ASCII: u8 = 0x7f;

/// One byte longer than the longest name, so that a clipped name is never equal to one.
const KEY_SIZE: usize = 19;

/// The longest string, with every byte escaped.
const STRING_MAX: usize = 2 * FUNCTION_NAME_MAX;

/// What [`Pruner::push`] keeps room for.
const CLOSING: &[u8] = b"\"}";

#[cfg(test)]
mod tests;
