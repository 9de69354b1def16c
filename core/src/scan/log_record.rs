//! Keeps the parts of a function's record that signatures look at.
//!
//! In: the tokens of a `record`, which is a text or a JSON object of any length. Out: its first
//! bytes, and the few members by which a runtime client's own records are known. A text that is
//! itself a JSON object (schema 2022-07-01, AWS's local emulator) is read like an object.

use crate::buffer::Bytes;
use crate::scan::lexer::{Lexer, Token};
use crate::scan::mention::Mention;
use crate::sizes::{ERROR_MESSAGE_SIZE, ERROR_TYPE_SIZE, HEAD_SIZE, LOG_KEY_SIZE, REQUEST_ID_SIZE};

pub(crate) struct LogRecord {
    shape: Shape,
    head: Bytes<HEAD_SIZE>,
    mention: Mention,
    /// Reads a text that starts like a JSON object.
    nested: Lexer,
    members: Members,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// Nothing has been read yet.
    None,
    Text,
    /// A text that is a JSON object as far as it was read.
    TextOfObject,
    Object,
}

/// The members of a JSON record that signatures look at.
pub(crate) struct Members {
    pub(crate) request_id: Bytes<REQUEST_ID_SIZE>,
    pub(crate) error_type: Bytes<ERROR_TYPE_SIZE>,
    pub(crate) error_message: Bytes<ERROR_MESSAGE_SIZE>,
    /// The first bytes of a `message` that is text.
    pub(crate) message: Bytes<HEAD_SIZE>,
    /// `errorType` and `errorMessage` were members of a `message` that is an object (Node).
    pub(crate) error_in_message: bool,
    pub(crate) has_message: bool,
    pub(crate) has_logger: bool,
    pub(crate) has_stack_trace: bool,
    key: Bytes<LOG_KEY_SIZE>,
    /// Depth of the record's own members.
    depth: u32,
    in_message: bool,
    field: Field,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    ErrorMessage,
    ErrorType,
    Key,
    Message,
    None,
    RequestId,
}

impl LogRecord {
    pub(crate) const fn new() -> Self {
        Self {
            shape: Shape::None,
            head: Bytes::new(),
            mention: Mention::new(),
            nested: Lexer::new(),
            members: Members::new(),
        }
    }

    /// Begins another record. If it is an object, its own members are at `depth`.
    pub(crate) fn start(&mut self, depth: u32) {
        self.shape = Shape::None;
        self.head.clear();
        self.mention = Mention::new();
        self.members.start(depth);
    }

    /// Takes the next token of the record. `depth` is the lexer's depth after it.
    pub(crate) fn token(&mut self, token: &Token<'_>, depth: u32) {
        match (self.shape, token) {
            (Shape::None, Token::StringStart) => self.shape = Shape::Text,
            (Shape::None, Token::Open) => self.shape = Shape::Object,
            (Shape::None, _) => {}
            (Shape::Text | Shape::TextOfObject, Token::Text(run)) => self.text(run),
            (Shape::Text | Shape::TextOfObject, Token::Unit(unit)) => {
                let mut utf8 = [0; 4];
                self.text(encode(*unit, &mut utf8));
            }
            (Shape::Text | Shape::TextOfObject, _) => {}
            (Shape::Object, _) => {
                self.mention_in_object(token);
                self.members.token(token, depth);
            }
        }
    }

    /// Takes the [`plain_text`](crate::scan::find::plain_text) of a string value, still escaped.
    /// False if it must come token by token instead.
    pub(crate) fn plain_text(&mut self, text: &[u8]) -> bool {
        match self.shape {
            Shape::Text if self.head.is_empty() && text.first() == Some(&b'{') => return false,
            Shape::Text => append_unescaped(&mut self.head, text),
            Shape::Object => self.members.plain_text(text),
            Shape::None | Shape::TextOfObject => return false,
        }
        self.mention.feed(text);
        true
    }

    /// The first bytes of a record that is a text and not a JSON object; `None` for any other.
    pub(crate) fn as_text(&self) -> Option<&[u8]> {
        match self.shape {
            Shape::Text => Some(&self.head),
            Shape::TextOfObject if !self.nested.is_between_values() => Some(&self.head),
            Shape::None | Shape::Object | Shape::TextOfObject => None,
        }
    }

    /// The members of a record that is a JSON object, or the text of one.
    pub(crate) fn as_object(&self) -> Option<&Members> {
        match self.shape {
            Shape::Object => Some(&self.members),
            Shape::TextOfObject if self.nested.is_between_values() => Some(&self.members),
            Shape::None | Shape::Text | Shape::TextOfObject => None,
        }
    }

    /// True if one of the words of [`Mention`] is anywhere in it.
    pub(crate) const fn has_mention(&self) -> bool {
        self.mention.is_found()
    }

    fn text(&mut self, run: &[u8]) {
        if self.head.is_empty() && run.first() == Some(&b'{') {
            self.shape = Shape::TextOfObject;
            self.nested = Lexer::new();
            self.members.start(1);
        }
        self.head.append(run);
        self.mention.feed(run);
        if self.shape != Shape::TextOfObject {
            return;
        }
        let mut rest = run;
        loop {
            match self.nested.next(&mut rest) {
                Ok(Some(token)) => self.members.token(&token, self.nested.depth()),
                Ok(None) => return,
                Err(_) => {
                    self.shape = Shape::Text;
                    return;
                }
            }
        }
    }

    fn mention_in_object(&mut self, token: &Token<'_>) {
        match token {
            Token::Text(run) => self.mention.feed(run),
            Token::Unit(unit) => {
                let mut utf8 = [0; 4];
                self.mention.feed(encode(*unit, &mut utf8));
            }
            // A word does not go on from one string to the next.
            _ => self.mention.end_text(),
        }
    }
}

impl Members {
    const fn new() -> Self {
        Self {
            request_id: Bytes::new(),
            error_type: Bytes::new(),
            error_message: Bytes::new(),
            message: Bytes::new(),
            error_in_message: false,
            has_message: false,
            has_logger: false,
            has_stack_trace: false,
            key: Bytes::new(),
            depth: 0,
            in_message: false,
            field: Field::None,
        }
    }

    fn start(&mut self, depth: u32) {
        self.request_id.clear();
        self.error_type.clear();
        self.error_message.clear();
        self.message.clear();
        self.error_in_message = false;
        self.has_message = false;
        self.has_logger = false;
        self.has_stack_trace = false;
        self.depth = depth;
        self.in_message = false;
        self.field = Field::None;
    }

    fn token(&mut self, token: &Token<'_>, depth: u32) {
        match token {
            Token::KeyStart => {
                let own =
                    depth == self.depth || self.in_message && depth == self.depth.saturating_add(1);
                self.key.clear();
                self.field = if own { Field::Key } else { Field::None };
            }
            Token::KeyEnd => self.field = self.key_end(depth),
            Token::Text(run) => self.text(run),
            Token::Unit(unit) => {
                let mut utf8 = [0; 4];
                self.text(encode(*unit, &mut utf8));
            }
            Token::Open => {
                self.in_message |=
                    self.field == Field::Message && depth == self.depth.saturating_add(1);
                self.field = Field::None;
            }
            Token::Close => {
                self.in_message &= depth > self.depth;
                self.field = Field::None;
            }
            Token::StringStart => {}
            Token::StringEnd | Token::Number(_) | Token::Literal => self.field = Field::None,
        }
    }

    fn key_end(&mut self, depth: u32) -> Field {
        if self.field != Field::Key {
            return Field::None;
        }
        let in_message = depth > self.depth;
        let field = match &*self.key {
            b"errorType" if self.error_type.is_empty() => Field::ErrorType,
            b"errorMessage" if self.error_message.is_empty() => Field::ErrorMessage,
            b"stackTrace" => {
                self.has_stack_trace = true;
                Field::None
            }
            _ if in_message => Field::None,
            b"logger" => {
                self.has_logger = true;
                Field::None
            }
            b"message" if !self.has_message => {
                self.has_message = true;
                Field::Message
            }
            b"requestId" | b"AWSRequestId" if self.request_id.is_empty() => Field::RequestId,
            _ => Field::None,
        };
        self.error_in_message |= in_message && field == Field::ErrorType;
        field
    }

    fn plain_text(&mut self, text: &[u8]) {
        match self.field {
            Field::ErrorMessage => append_unescaped(&mut self.error_message, text),
            Field::ErrorType => append_unescaped(&mut self.error_type, text),
            Field::Message => append_unescaped(&mut self.message, text),
            Field::RequestId => append_unescaped(&mut self.request_id, text),
            Field::Key | Field::None => {}
        }
    }

    fn text(&mut self, run: &[u8]) {
        match self.field {
            Field::ErrorMessage => self.error_message.append(run),
            Field::ErrorType => self.error_type.append(run),
            Field::Key => self.key.append(run),
            Field::Message => self.message.append(run),
            Field::None => {}
            Field::RequestId => self.request_id.append(run),
        }
    }
}

/// Appends what fits of a string's [`plain_text`](crate::scan::find::plain_text).
fn append_unescaped<const N: usize>(buffer: &mut Bytes<N>, text: &[u8]) {
    let mut lexer = Lexer::inside_string(0, 0);
    let mut rest = text;
    while !buffer.is_full() {
        match lexer.next(&mut rest) {
            Ok(Some(Token::Text(run))) => buffer.append(run),
            Ok(Some(Token::Unit(unit))) => {
                let mut utf8 = [0; 4];
                buffer.append(encode(unit, &mut utf8));
            }
            _ => break,
        }
    }
}

/// The UTF-8 of one UTF-16 unit. Half of a surrogate pair becomes `?`, since no signature has one.
fn encode(unit: u16, utf8: &mut [u8; 4]) -> &[u8] {
    char::from_u32(u32::from(unit)).unwrap_or('?').encode_utf8(utf8).as_bytes()
}
