//! Turns JSON into tokens, in pieces of any size.
//!
//! In: the next piece. Out: one [`Token`] for each call, until the piece is used up. A string comes
//! as runs of plain bytes, with the escapes between them decoded. The lexer never looks back,
//! copies nothing and holds no text, so a value may have any length.

mod number;

use self::number::Number;
use crate::scan::compact::{after, is_of_number};
use crate::scan::find::{plain_text, quote_or_backslash};

/// A part of a JSON value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token<'a> {
    /// `{` or `[`. [`Lexer::depth`] already counts it.
    Open,
    /// `}` or `]`. [`Lexer::depth`] no longer counts it.
    Close,
    /// The opening quote of a member's name.
    KeyStart,
    /// The opening quote of a string value.
    StringStart,
    /// A run of string bytes without escapes. It may be invalid UTF-8.
    Text(&'a [u8]),
    /// A decoded escape: one UTF-16 unit.
    Unit(u16),
    /// The closing quote of a string value.
    StringEnd,
    /// The closing quote of a member's name.
    KeyEnd,
    /// The value of a number, rounded towards zero; `None` if it is negative. A number above 2^64
    /// loses its last digits, or saturates.
    Number(Option<u64>),
    /// `true`, `false` or `null`.
    Literal,
}

/// The bytes from here on are not JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SyntaxError;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer {
    state: LexerState,
    /// Open containers.
    depth: u32,
    /// One bit for each open container, the innermost lowest: 1 for an object.
    objects: u64,
    /// The current string is a member's name.
    in_key: bool,
    /// How many hexadecimal digits of a `\u` escape are still to come, and the value of the others.
    digits_left: u8,
    unit: u16,
    /// What must still come of `true`, `false` or `null`.
    literal: &'static [u8],
    number: Number,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LexerState {
    /// Before a value.
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    KeyOrEnd,
    /// After `,` in an object.
    Key,
    Colon,
    CommaOrEnd,
    InString,
    Escape,
    Unicode,
    InNumber,
    InLiteral,
    /// After the outermost value.
    Done,
    /// Deeper than [`DEPTH_MAX`]: brackets are counted, and no token is given.
    TooDeep,
    TooDeepString,
    TooDeepEscape,
}

impl Lexer {
    pub(crate) const fn new() -> Self {
        Self {
            state: LexerState::Value,
            depth: 0,
            objects: 0,
            in_key: false,
            digits_left: 0,
            unit: 0,
            literal: b"",
            number: Number::ZERO,
        }
    }

    /// A lexer before a value that is `depth` containers deep.
    pub(crate) const fn before_value(depth: u32, objects: u64) -> Self {
        let mut lexer = Self::new();
        lexer.depth = depth;
        lexer.objects = objects;
        lexer
    }

    /// A lexer inside a string value that is `depth` containers deep.
    pub(crate) const fn inside_string(depth: u32, objects: u64) -> Self {
        let mut lexer = Self::before_value(depth, objects);
        lexer.state = LexerState::InString;
        lexer
    }

    /// Open containers.
    pub(crate) const fn depth(&self) -> u32 {
        self.depth
    }

    /// True if the outermost value is complete, or none has begun.
    pub(crate) const fn is_between_values(&self) -> bool {
        self.depth == 0 && matches!(self.state, LexerState::Done | LexerState::Value)
    }

    /// True after a colon, or after a comma in an array.
    pub(crate) const fn is_before_value(&self) -> bool {
        matches!(self.state, LexerState::Value)
    }

    /// True if the innermost open container is an object.
    pub(crate) const fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// The rest of `input`, if an element of an array begins there.
    pub(crate) fn at_element<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        match self.state {
            _ if self.is_in_object() => None,
            LexerState::CommaOrEnd => after(b',', input),
            LexerState::Value | LexerState::ValueOrEnd if self.depth > 0 => Some(input),
            _ => None,
        }
    }

    /// The rest of `input`, if a member of an object begins there.
    pub(crate) fn at_member<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        match self.state {
            LexerState::CommaOrEnd if self.is_in_object() => after(b',', input),
            LexerState::KeyOrEnd => Some(input),
            _ => None,
        }
    }

    /// The caller has taken a member's name, its colon and the brace after it.
    pub(crate) const fn enter_object(&mut self) {
        self.depth = self.depth.saturating_add(1);
        self.objects = self.objects << 1 | 1;
        self.state = LexerState::KeyOrEnd;
    }

    /// The caller has passed over an element or a member of the current container.
    pub(crate) const fn pass_value(&mut self) {
        self.state = LexerState::CommaOrEnd;
    }

    /// The start of `input` that is [`plain_text`] of a string value; empty outside string values.
    pub(crate) fn plain_text<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        if self.state == LexerState::InString && !self.in_key { plain_text(input) } else { b"" }
    }

    /// The next token of `input`; `None` when `input` is used up. Moves `input` past the token.
    /// Each call takes at least one byte or ends a number, so no input makes the lexer stand still.
    ///
    /// # Errors
    /// [`SyntaxError`] at the first byte that cannot belong to a JSON value; `input` begins with
    /// it.
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Token<'a>>, SyntaxError> {
        loop {
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            let token = match self.state {
                LexerState::InString => return Ok(Some(self.in_string(input))),
                LexerState::InNumber if !is_of_number(*byte) => {
                    self.state = self.after_value();
                    return Ok(Some(Token::Number(self.number.value())));
                }
                LexerState::InNumber => {
                    self.number.push(*byte);
                    None
                }
                LexerState::InLiteral => self.literal(*byte)?,
                LexerState::Escape => self.escape(*byte)?,
                LexerState::Unicode => self.unicode(*byte)?,
                LexerState::TooDeep | LexerState::TooDeepString | LexerState::TooDeepEscape => {
                    self.too_deep(*byte);
                    None
                }
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => None,
                LexerState::Value => self.value(*byte)?,
                LexerState::ValueOrEnd if *byte == b']' => self.close(),
                LexerState::ValueOrEnd => self.value(*byte)?,
                LexerState::KeyOrEnd if *byte == b'}' => self.close(),
                LexerState::KeyOrEnd | LexerState::Key => self.key(*byte)?,
                LexerState::Colon => self.colon(*byte)?,
                LexerState::CommaOrEnd => self.comma_or_end(*byte)?,
                LexerState::Done => return Err(SyntaxError),
            };
            *input = rest;
            if token.is_some() {
                return Ok(token);
            }
        }
    }

    fn value(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        match byte {
            b'{' | b'[' => return Ok(self.open(byte == b'{')),
            b'"' => {
                self.in_key = false;
                self.state = LexerState::InString;
                return Ok(Some(Token::StringStart));
            }
            b'-' | b'0'..=b'9' => {
                self.number = Number::ZERO;
                self.number.push(byte);
                self.state = LexerState::InNumber;
            }
            b't' => self.begin_literal(b"rue"),
            b'f' => self.begin_literal(b"alse"),
            b'n' => self.begin_literal(b"ull"),
            _ => return Err(SyntaxError),
        }
        Ok(None)
    }

    fn begin_literal(&mut self, rest: &'static [u8]) {
        self.literal = rest;
        self.state = LexerState::InLiteral;
    }

    fn literal(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        let (expected, rest) = self.literal.split_first().ok_or(SyntaxError)?;
        if *expected != byte {
            return Err(SyntaxError);
        }
        self.literal = rest;
        if !rest.is_empty() {
            return Ok(None);
        }
        self.state = self.after_value();
        Ok(Some(Token::Literal))
    }

    fn key(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        if byte != b'"' {
            return Err(SyntaxError);
        }
        self.in_key = true;
        self.state = LexerState::InString;
        Ok(Some(Token::KeyStart))
    }

    fn colon(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        if byte != b':' {
            return Err(SyntaxError);
        }
        self.state = LexerState::Value;
        Ok(None)
    }

    fn comma_or_end(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        let in_object = self.objects & 1 == 1;
        match byte {
            b',' if in_object => self.state = LexerState::Key,
            b',' => self.state = LexerState::Value,
            b'}' if in_object => return Ok(self.close()),
            b']' if !in_object => return Ok(self.close()),
            _ => return Err(SyntaxError),
        }
        Ok(None)
    }

    fn open(&mut self, object: bool) -> Option<Token<'static>> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            self.state = LexerState::TooDeep;
            return None;
        }
        self.objects = self.objects << 1 | u64::from(object);
        self.state = if object { LexerState::KeyOrEnd } else { LexerState::ValueOrEnd };
        Some(Token::Open)
    }

    fn close(&mut self) -> Option<Token<'static>> {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.state = self.after_value();
        Some(Token::Close)
    }

    const fn after_value(&self) -> LexerState {
        if self.depth == 0 { LexerState::Done } else { LexerState::CommaOrEnd }
    }

    fn in_string<'a>(&mut self, input: &mut &'a [u8]) -> Token<'a> {
        let text = *input;
        let len = quote_or_backslash(text).unwrap_or(text.len());
        let (run, rest) = text.split_at_checked(len).unwrap_or((text, &[]));
        if !run.is_empty() {
            *input = rest;
            return Token::Text(run);
        }
        let (byte, rest) = rest.split_first().unwrap_or((&b'"', &[]));
        *input = rest;
        if *byte == b'\\' {
            self.state = LexerState::Escape;
            return Token::Text(&[]);
        }
        if self.in_key {
            self.state = LexerState::Colon;
            return Token::KeyEnd;
        }
        self.state = self.after_value();
        Token::StringEnd
    }

    fn escape(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        let unit = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.digits_left = 4;
                self.unit = 0;
                self.state = LexerState::Unicode;
                return Ok(None);
            }
            _ => return Err(SyntaxError),
        };
        self.state = LexerState::InString;
        Ok(Some(Token::Unit(u16::from(unit))))
    }

    fn unicode(&mut self, byte: u8) -> Result<Option<Token<'static>>, SyntaxError> {
        let digit = char::from(byte).to_digit(16).ok_or(SyntaxError)?;
        self.unit = self.unit << 4 | u16::try_from(digit).unwrap_or(0);
        self.digits_left = self.digits_left.saturating_sub(1);
        if self.digits_left > 0 {
            return Ok(None);
        }
        self.state = LexerState::InString;
        Ok(Some(Token::Unit(self.unit)))
    }

    fn too_deep(&mut self, byte: u8) {
        match (self.state, byte) {
            (LexerState::TooDeepEscape, _) => self.state = LexerState::TooDeepString,
            (LexerState::TooDeepString, b'\\') => self.state = LexerState::TooDeepEscape,
            (LexerState::TooDeepString, b'"') => self.state = LexerState::TooDeep,
            (LexerState::TooDeepString, _) => {}
            (_, b'"') => self.state = LexerState::TooDeepString,
            (_, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
            (_, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth <= DEPTH_MAX {
                    self.state = LexerState::CommaOrEnd;
                }
            }
            _ => {}
        }
    }
}

/// Containers whose tokens are given: one for each bit of [`Lexer::objects`].
const DEPTH_MAX: u32 = u64::BITS;

#[cfg(test)]
mod tests;
