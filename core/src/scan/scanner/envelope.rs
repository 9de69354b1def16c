//! Recognises the continuation of a record that Lambda cut in the middle.
//!
//! Lambda ends the first body in the middle of the record. It begins the next body with the same
//! bytes, `[{"time":"<same>","type":"function","record":`, and then goes on with the rest
//! (<https://github.com/DataDog/datadog-lambda-extension/pull/1357>).

use crate::buffer::Bytes;
use crate::scan::lexer::Lexer;
use crate::sizes::ENVELOPE_SIZE;

/// The bytes from an element's `{` to its `"record"`, by which the continuation is recognised.
pub(super) struct Envelope {
    bytes: Bytes<ENVELOPE_SIZE>,
    phase: EnvelopePhase,
    /// Where the record's value was cut.
    pub(super) cut: Option<Lexer>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum EnvelopePhase {
    /// Nothing to note.
    Idle,
    /// A record was cut, and the next body's first element has not begun.
    Armed,
    /// The current element's envelope is being noted.
    Noting,
    /// The first element of a body is compared with the envelope of the cut record.
    Comparing { matched: usize },
}

impl Envelope {
    pub(super) const fn new() -> Self {
        Self { bytes: Bytes::new(), phase: EnvelopePhase::Idle, cut: None }
    }

    /// Nothing to note until the next element.
    pub(super) const fn rest(&mut self) {
        self.phase = EnvelopePhase::Idle;
    }

    pub(super) fn start_batch(&mut self) {
        if self.cut.is_some() {
            self.phase = EnvelopePhase::Armed;
        }
    }

    /// Takes an element's `{`.
    pub(super) fn start_event(&mut self) {
        if self.phase == EnvelopePhase::Armed {
            self.phase = EnvelopePhase::Comparing { matched: 1 };
            return;
        }
        self.phase = EnvelopePhase::Noting;
        self.bytes.clear();
        self.bytes.append(b"{");
    }

    /// Takes an element's whole envelope at once.
    pub(super) fn note_whole(&mut self, envelope: &[u8]) {
        self.bytes.clear();
        self.bytes.append(envelope);
        self.phase = EnvelopePhase::Idle;
    }

    /// Takes the next bytes of an element, after its `{`.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        match self.phase {
            EnvelopePhase::Idle | EnvelopePhase::Armed => {}
            EnvelopePhase::Noting => self.bytes.append(bytes),
            EnvelopePhase::Comparing { matched } => {
                let same = self.bytes.get(matched..).is_some_and(|rest| rest.starts_with(bytes));
                if same {
                    self.phase =
                        EnvelopePhase::Comparing { matched: matched.saturating_add(bytes.len()) };
                } else {
                    self.bytes.truncate(matched);
                    self.bytes.append(bytes);
                    self.phase = EnvelopePhase::Noting;
                }
            }
        }
    }

    /// True if the envelope is complete, and has the same bytes as that of the cut record.
    pub(super) fn is_continuation(&self) -> bool {
        self.phase == EnvelopePhase::Comparing { matched: self.bytes.len() }
            && self.bytes.len() < ENVELOPE_SIZE
    }

    /// Ends an envelope that is not that of a cut record. True if a record was cut: its rest is
    /// lost.
    pub(super) fn is_cut_lost(&mut self) -> bool {
        self.phase = EnvelopePhase::Idle;
        self.cut.take().is_some()
    }
}
