//! Finds the events of a telemetry body, in pieces of any size.
//!
//! In: the bytes of a body, `[{"time":"...","type":"platform.start","record":{...}},...]`, as they
//! arrive. Out: an [`Event`] for each element that concerns memory. The scanner holds at most a
//! pruned record of 512 bytes and the first bytes of a function's record. It holds no policy.
//!
//! Elements of other types are skipped. Events are taken only at depth 1 of the batch, so text that
//! a function prints cannot pass for one. After bytes that are not JSON, the scanner goes on at the
//! next `,{"time":"`. Lambda cuts a record that is larger than the subscribed buffer, and the next
//! body continues it.
//!
//! # Cut records
//!
//! In JSON log format a function chooses the brackets of its record. If Lambda cuts the record and
//! the scanner has not read its first half, the depth of the second half is unknown. Then an object
//! in the record can look like an element of the batch. Only the first element of a body can be the
//! rest of a record, and only if it is a function's. So a body that begins with a platform event is
//! believed at once. In any other body, the platform events are held until it ends:
//!
//! | Second half of a cut record comes | Platform events in that body |
//! |---|---|
//! | next, to the same scanner | the record is continued; they are taken when the body ends well |
//! | on another connection, to another scanner | forged ones are dropped |
//! | after a restart, to a new scanner | forged ones are dropped |
//! | after another batch | forged ones are dropped |
//! | after its first half was lost | forged ones are dropped |
//! | after the piece before it was lost | the record is continued wrongly; forged ones are dropped |
//! | blank: it was cut after its last bracket | read as a record without text |
//! | in pieces, this is one in the middle | dropped, as its end says nothing: for 16 bodies after one that was cut, broken or lost |
//!
//! A body ends well if its last byte closes the batch. A body that is read at a wrong depth cannot
//! end well. The real depth at the last byte is 0, and the wrong depth stays the same distance from
//! the real one, as long as both readings agree on where strings begin. If they disagree, texts are
//! read as structure and structure as texts. Then no element has a `type`, and the last byte lies
//! inside a string.
//!
//! After a byte that is not JSON the depth is unknown, and no platform event is taken from the rest
//! of the body. Function records are still taken: a function can print any line anyway, and a true
//! line is evidence. [`Skipped::distrusted`] counts what is dropped.

mod envelope;
mod event_parts;
mod quiet;
mod record;
mod search;

use self::envelope::Envelope;
use self::event_parts::{EventParts, Member};
use self::quiet::{ElementStart, FunctionRecord};
use self::record::NoEvent;
use self::search::{EVENT_START, RecentBytes, search_step};
use crate::buffer::Bytes;
use crate::scan::event::{Event, EventKind};
use crate::scan::lexer::{Lexer, SyntaxError, Token};
use crate::sizes::{CUT_BODY_SIZE_MIN, DOUBT_BODIES, HELD_EVENTS_MAX};
use crate::time::parse_rfc3339_ms;

/// Reads the telemetry bodies of one sender, one after another.
///
/// It takes at most 3 KiB, whatever it reads.
///
/// ```
/// use oom_witness_core::{Event, EventKind, Scanner};
///
/// let body = br#"[{"time":"2026-11-22T07:34:59.678Z","type":"platform.start",
///   "record":{"requestId":"3c1a12d9"}}]"#;
/// let mut scanner = Scanner::new();
/// let mut started = 0;
/// let mut on_event = |event: &Event| {
///     started += usize::from(matches!(event.kind, EventKind::Start { .. }));
/// };
/// for piece in body.chunks(7) {
///     scanner.feed(piece, &mut on_event);
/// }
/// scanner.end_body(&mut on_event);
/// assert_eq!(started, 1);
/// ```
pub struct Scanner {
    lexer: Lexer,
    state: ScannerState,
    trust: Trust,
    /// How many more bodies must end well before a body that may be the middle of a record is
    /// believed.
    doubts: u8,
    /// Bytes of the current body.
    body_size: usize,
    /// A body of this size may be the middle of a cut record.
    cut_size: usize,
    event: EventParts,
    envelope: Envelope,
    /// `}` or `}]` at the end of the last piece. If the body ends there, it may be the framing that
    /// Lambda puts after a cut record.
    framing: Bytes<{ FRAMING.len() }>,
    /// The last bytes of the last piece, for the search after an error.
    recent: RecentBytes,
    skipped: Skipped,
    /// Held events of a body that may begin with the rest of a record.
    held: heapless::Vec<Event, HELD_EVENTS_MAX>,
}

/// What a scanner has left out since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Skipped {
    /// Events of a type that it does not know.
    pub unknown: u32,
    /// Events that were not JSON, were cut without a continuation, or lacked a member that their
    /// type must have.
    pub malformed: u32,
    /// Searches for the next event after an error.
    pub resynchronised: u32,
    /// Events that a function may have forged. They came after bytes that are not JSON, or in a
    /// body that may be the rest of a cut record and did not end well.
    pub distrusted: u32,
}

/// Whether the platform events of the current body are believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trust {
    /// The type of its first element is not read yet.
    Open,
    /// It begins with a platform event: its depth is known.
    Known,
    /// It begins with a function's record, which may be the rest of a cut one. Its events are held.
    Doubtful,
    /// A part of it is not JSON. Its events are dropped from there on.
    Broken,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ScannerState {
    /// In the batch.
    Batch,
    /// Before the colon after the repeated envelope of a cut record.
    BeforeContinuation,
    /// After an error. `matched` bytes of [`EVENT_START`] have been found.
    Searching { matched: usize },
}

impl Scanner {
    /// A scanner before its first body.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lexer: Lexer::new(),
            state: ScannerState::Batch,
            trust: Trust::Open,
            doubts: 0,
            body_size: 0,
            cut_size: CUT_BODY_SIZE_MIN,
            event: EventParts::new(),
            envelope: Envelope::new(),
            framing: Bytes::new(),
            recent: RecentBytes::new(),
            skipped: Skipped { unknown: 0, malformed: 0, resynchronised: 0, distrusted: 0 },
            held: heapless::Vec::new(),
        }
    }

    /// Takes the next piece of a body. Costs a few steps for each byte.
    pub fn feed(&mut self, piece: &[u8], emit: &mut dyn FnMut(&Event)) {
        self.body_size = self.body_size.saturating_add(piece.len());
        if piece == b"]" && *self.framing == *b"}" {
            self.framing.push(b"]");
            return;
        }
        self.release_framing(emit);
        let framing: &[u8] = match piece {
            [.., b'}', b']'] => FRAMING,
            [.., b'}'] => b"}",
            _ => b"",
        };
        let body = piece.get(..piece.len().saturating_sub(framing.len())).unwrap_or(piece);
        self.scan(body, emit);
        self.framing.push(framing);
    }

    /// The body is complete. If its last record was cut, the next body may continue it.
    pub fn end_body(&mut self, emit: &mut dyn FnMut(&Event)) {
        if !self.is_cut() {
            self.release_framing(emit);
        }
        self.framing.clear();
        let in_record = self.event.is_open && self.event.member == Member::Record;
        let is_cut = self.state == ScannerState::Batch && in_record;
        let is_closed = self.state == ScannerState::Batch && self.lexer.is_between_values();
        if is_cut {
            self.envelope.cut = Some(self.lexer);
        } else if !is_closed {
            self.envelope.cut = None;
            self.count_malformed();
        }
        let is_middle = is_cut || self.body_size >= self.cut_size;
        self.release_held((is_closed || is_cut) && (!is_middle || self.doubts == 0), emit);
        if is_closed && self.trust != Trust::Broken {
            self.doubts = self.doubts.saturating_sub(1);
        } else {
            self.doubt();
        }
        self.start_body();
    }

    /// The connection ended before the body's last byte. Complete events count. Lambda will send
    /// the whole body again.
    pub fn abort_body(&mut self, emit: &mut dyn FnMut(&Event)) {
        self.release_framing(emit);
        self.envelope.cut = None;
        self.release_held(self.doubts == 0, emit);
        self.doubt();
        self.start_body();
    }

    /// A body was lost, cut or broken, here or at another scanner. The next bodies may begin with
    /// the rest of a record.
    pub const fn doubt(&mut self) {
        self.doubts = DOUBT_BODIES;
    }

    /// How many more bodies must end well before a body that may be the middle of a record is
    /// believed.
    #[must_use]
    pub const fn doubts(&self) -> u8 {
        self.doubts
    }

    /// What has been left out.
    #[must_use]
    pub const fn skipped(&self) -> Skipped {
        self.skipped
    }

    fn start_body(&mut self) {
        self.lexer = Lexer::new();
        self.state = ScannerState::Batch;
        self.trust = Trust::Open;
        self.body_size = 0;
        self.event.is_open = false;
        self.recent = RecentBytes::new();
        self.envelope.rest();
    }

    /// True if the held framing does not end the batch, but stands after a cut record.
    fn is_cut(&self) -> bool {
        let mut lexer = self.lexer;
        let mut rest: &[u8] = &self.framing;
        if self.state != ScannerState::Batch || rest.is_empty() {
            return false;
        }
        while let Ok(Some(_)) = lexer.next(&mut rest) {}
        !lexer.is_between_values()
    }

    fn release_framing(&mut self, emit: &mut dyn FnMut(&Event)) {
        let framing = self.framing;
        self.framing.clear();
        self.scan(&framing, emit);
    }

    fn scan(&mut self, piece: &[u8], emit: &mut dyn FnMut(&Event)) {
        let mut rest = piece;
        while !rest.is_empty() {
            match self.state {
                ScannerState::Batch => self.scan_batch(piece, &mut rest, emit),
                ScannerState::BeforeContinuation => self.scan_continuation(piece, &mut rest, emit),
                ScannerState::Searching { matched } => self.search(matched, &mut rest),
            }
        }
        self.recent.note(piece);
    }

    fn scan_batch(&mut self, piece: &[u8], rest: &mut &[u8], emit: &mut dyn FnMut(&Event)) {
        loop {
            self.take_text(rest);
            if self.event.is_open && self.event.is_in_platform_record() {
                self.event.pruner.take_members(&mut self.lexer, rest);
            }
            let before = *rest;
            let next = self.lexer.next(rest);
            // Passed by reference: copying what has just been written stalls the processor.
            let token = match &next {
                Ok(Some(token)) => token,
                Ok(None) => {
                    self.envelope.note(before);
                    return;
                }
                Err(SyntaxError) if self.is_at_blank_record(rest) => {
                    self.event.start_record();
                    self.event.member = Member::Other;
                    self.lexer.pass_value();
                    continue;
                }
                Err(SyntaxError) => return self.start_search(piece, rest, emit),
            };
            let taken = before.len().saturating_sub(rest.len());
            self.envelope.note(before.get(..taken).unwrap_or_default());
            if self.token(token, emit).is_err() {
                return self.start_search(piece, rest, emit);
            }
            if self.state != ScannerState::Batch {
                return;
            }
        }
    }

    /// True before the brace after a function's record of blanks alone. It is the rest of a record
    /// that Lambda cut in the blanks after its last bracket.
    fn is_at_blank_record(&self, rest: &[u8]) -> bool {
        let in_function = self.event.is_open && *self.event.kind_name == *FUNCTION;
        in_function
            && self.event.member == Member::RecordStart
            && self.lexer.depth() == EVENT_DEPTH
            && self.lexer.is_before_value()
            && rest.starts_with(b"}")
    }

    /// Reads long runs at once where a function's text allows it. The lexer reads what remains of
    /// `rest`.
    fn take_text(&mut self, rest: &mut &[u8]) {
        if !self.event.is_open {
            self.pass_quiet_elements(rest);
        }
        if self.event.is_open && self.event.is_in_log() {
            let text = self.lexer.plain_text(rest);
            if !text.is_empty() && self.event.log.plain_text(text) {
                *rest = rest.get(text.len()..).unwrap_or_default();
            }
        }
    }

    /// Skips elements without evidence. Stops at the record of the first element that is in doubt,
    /// or that is a platform event.
    fn pass_quiet_elements(&mut self, rest: &mut &[u8]) {
        if self.lexer.depth() != BATCH_DEPTH || self.envelope.cut.is_some() {
            return;
        }
        while let Some(element) = self.lexer.at_element(rest).and_then(ElementStart::at) {
            let after = match element.kind {
                FUNCTION => self.pass_function_element(&element, rest),
                kind if kind.starts_with(PLATFORM) && element.record.starts_with(b"{") => {
                    self.judge(Trust::Known);
                    self.open_record(&element);
                    self.lexer = Lexer::before_value(EVENT_DEPTH, EVENT_OBJECTS);
                    *rest = element.record;
                    None
                }
                _ => None,
            };
            let Some(after) = after else { return };
            self.lexer.pass_value();
            *rest = after;
        }
    }

    /// The bytes after a function's element without evidence. Any other element is opened.
    fn pass_function_element<'a>(
        &mut self,
        element: &ElementStart<'a>,
        rest: &mut &'a [u8],
    ) -> Option<&'a [u8]> {
        let record = FunctionRecord::of(element.record)?;
        self.judge(Trust::Doubtful);
        if let Some(after) = record.after_quiet() {
            return Some(after);
        }
        self.open_record(element);
        *rest = match record {
            FunctionRecord::Text { text, plain } => {
                self.lexer = Lexer::inside_string(EVENT_DEPTH, EVENT_OBJECTS);
                self.event.log.token(&Token::StringStart, EVENT_DEPTH);
                let taken = if self.event.log.plain_text(plain) { plain.len() } else { 0 };
                text.get(taken..).unwrap_or_default()
            }
            FunctionRecord::Object(object) => {
                self.lexer = Lexer::before_value(EVENT_DEPTH, EVENT_OBJECTS);
                object
            }
        };
        None
    }

    /// Moves the lexer to this element's record.
    fn open_record(&mut self, element: &ElementStart<'_>) {
        self.envelope.note_whole(element.envelope);
        self.event.open();
        self.event.time.append(element.time);
        self.event.kind_name.append(element.kind);
        self.event.start_record();
    }

    /// Gives one token of the batch to the part that reads it.
    fn token(
        &mut self,
        token: &Token<'_>,
        emit: &mut dyn FnMut(&Event),
    ) -> Result<(), SyntaxError> {
        let depth = self.lexer.depth();
        if !self.event.is_open {
            return self.between_events(token, depth);
        }
        match (token, self.event.member) {
            (Token::Close, _) if depth == BATCH_DEPTH => {
                self.event.is_open = false;
                self.envelope.rest();
                self.judge(Trust::Doubtful);
                self.finish_event(emit);
            }
            (Token::KeyEnd, Member::Key) if depth == EVENT_DEPTH => self.event_key_end(),
            (_, Member::Record | Member::RecordStart) => self.record_token(token, depth),
            (Token::KeyStart, _) if depth == EVENT_DEPTH => {
                self.event.key.clear();
                self.event.member = Member::Key;
            }
            (Token::Text(run), member) => self.event.text(member, run),
            (Token::Unit(unit), member) => {
                self.event.text(member, &[u8::try_from(*unit).unwrap_or(b'?')]);
            }
            _ => {}
        }
        Ok(())
    }

    fn between_events(&mut self, token: &Token<'_>, depth: u32) -> Result<(), SyntaxError> {
        let in_object = self.lexer.is_in_object();
        match (token, depth) {
            (Token::Open, BATCH_DEPTH) if !in_object => self.envelope.start_batch(),
            (Token::Open, EVENT_DEPTH) if in_object => {
                self.event.open();
                self.envelope.start_event();
            }
            (_, 0) if *token != Token::Close => return Err(SyntaxError),
            (Token::Open, BATCH_DEPTH) => return Err(SyntaxError),
            _ => {}
        }
        Ok(())
    }

    fn event_key_end(&mut self) {
        self.event.member = match &*self.event.key {
            b"time" => {
                self.event.time.clear();
                Member::Time
            }
            b"type" => {
                self.event.kind_name.clear();
                Member::Type
            }
            b"record" if self.envelope.is_continuation() => {
                self.judge(Trust::Doubtful);
                self.state = ScannerState::BeforeContinuation;
                self.event.has_record = true;
                Member::Record
            }
            b"record" => {
                if self.envelope.is_cut_lost() {
                    self.count_malformed();
                }
                let is_platform = self.event.kind_name.starts_with(PLATFORM);
                self.judge(if is_platform { Trust::Known } else { Trust::Doubtful });
                Member::RecordStart
            }
            _ => Member::Other,
        };
    }

    fn record_token(&mut self, token: &Token<'_>, depth: u32) {
        if self.event.member == Member::RecordStart {
            self.event.start_record();
        }
        if self.event.is_for_pruner {
            self.event.pruner.token(token, depth);
        }
        if self.event.is_for_log {
            self.event.log.token(token, depth);
        }
        let ends =
            matches!(token, Token::StringEnd | Token::Close | Token::Number(_) | Token::Literal);
        if ends && depth == EVENT_DEPTH {
            self.event.member = Member::Other;
        }
    }

    fn finish_event(&mut self, emit: &mut dyn FnMut(&Event)) {
        let event = match self.event.kind() {
            Ok(Some(kind)) => Event { time_ms: parse_rfc3339_ms(&self.event.time), kind },
            Ok(None) => return,
            Err(NoEvent::Unknown) => {
                self.skipped.unknown = self.skipped.unknown.saturating_add(1);
                return;
            }
            Err(NoEvent::Malformed) => return self.count_malformed(),
        };
        match self.trust {
            Trust::Known => emit(&event),
            Trust::Broken => self.skipped.drop_unless_line(&event, emit),
            Trust::Open | Trust::Doubtful => self.hold(&event, emit),
        }
    }

    /// Decides whether the body is believed, if that is not decided yet.
    fn judge(&mut self, trust: Trust) {
        if self.trust == Trust::Open {
            self.trust = trust;
        }
    }

    /// Keeps an event until the end of the body. If there are too many, it believes them now, or
    /// drops this one.
    fn hold(&mut self, event: &Event, emit: &mut dyn FnMut(&Event)) {
        if self.held.is_empty() && is_line(event) {
            emit(event);
        } else if self.held.push(event.clone()).is_err() {
            if self.doubts == 0 {
                self.release_held(true, emit);
                self.trust = Trust::Known;
                emit(event);
            } else {
                self.skipped.drop_unless_line(event, emit);
            }
        }
    }

    /// Emits the held events, or drops them.
    fn release_held(&mut self, is_believed: bool, emit: &mut dyn FnMut(&Event)) {
        for event in &self.held {
            if is_believed {
                emit(event);
            } else {
                self.skipped.drop_unless_line(event, emit);
            }
        }
        self.held.clear();
    }

    /// Continues a cut record, at the colon after its repeated envelope.
    fn scan_continuation(&mut self, piece: &[u8], rest: &mut &[u8], emit: &mut dyn FnMut(&Event)) {
        let Some((byte, after)) = rest.split_first() else {
            return;
        };
        match (byte, self.envelope.cut.take()) {
            (b':', Some(lexer)) => {
                self.lexer = lexer;
                self.state = ScannerState::Batch;
                self.envelope.rest();
                *rest = after;
            }
            _ => self.start_search(piece, rest, emit),
        }
    }

    /// Gives up an element that could not be read. The next one may have begun in the bytes that
    /// were taken.
    fn start_search(&mut self, piece: &[u8], rest: &[u8], emit: &mut dyn FnMut(&Event)) {
        self.release_held(false, emit);
        self.trust = Trust::Broken;
        self.event.is_open = false;
        self.envelope.cut = None;
        self.envelope.rest();
        self.count_malformed();
        self.skipped.resynchronised = self.skipped.resynchronised.saturating_add(1);
        let taken = piece.get(..piece.len().saturating_sub(rest.len())).unwrap_or_default();
        let mut recent = self.recent;
        recent.note(taken);
        let matched = recent.bytes.iter().fold(0, |matched, byte| search_step(matched, *byte));
        self.state = ScannerState::Searching { matched };
    }

    fn search(&mut self, mut matched: usize, rest: &mut &[u8]) {
        while let Some((byte, after)) = rest.split_first() {
            matched = search_step(matched, *byte);
            *rest = after;
            if matched == EVENT_START.len() {
                self.lexer = Lexer::inside_string(EVENT_DEPTH, EVENT_OBJECTS);
                self.state = ScannerState::Batch;
                self.event.open();
                self.event.member = Member::Time;
                self.envelope.start_event();
                self.envelope.note(EVENT_START.get(2..).unwrap_or_default());
                return;
            }
        }
        self.state = ScannerState::Searching { matched };
    }

    fn count_malformed(&mut self) {
        self.skipped.malformed = self.skipped.malformed.saturating_add(1);
    }
}

impl Skipped {
    fn drop_unless_line(&mut self, event: &Event, emit: &mut dyn FnMut(&Event)) {
        if is_line(event) {
            emit(event);
        } else {
            self.distrusted = self.distrusted.saturating_add(1);
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// True for a record of a function, which needs no trust.
const fn is_line(event: &Event) -> bool {
    matches!(event.kind, EventKind::Function(_))
}

/// What Lambda writes after the last record of a body, also after one that it cut.
const FRAMING: &[u8] = b"}]";

/// The type of a function's record.
const FUNCTION: &[u8] = b"function";

/// How each type begins that no function can print.
const PLATFORM: &[u8] = b"platform.";

/// Depth between the elements of the batch.
const BATCH_DEPTH: u32 = 1;

/// Depth of an element's own members.
const EVENT_DEPTH: u32 = 2;

/// An array with an object in it, as [`Lexer`] notes it.
const EVENT_OBJECTS: u64 = 0b01;

#[cfg(test)]
mod cut_tests;
#[cfg(test)]
mod tests;
