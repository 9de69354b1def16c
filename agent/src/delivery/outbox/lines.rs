//! The lines that `emf` writes to stdout, and the sentences for a human on stderr.
//!
//! In: the detections that wait for `emf`. Out: one line for each, as soon as stdout has room for
//! it. A line is marked as begun, and the journal saved, before it is written.

use std::io;

use oom_witness_core::{Detection, Metric, Source, format};

use super::Outbox;
use crate::delivery::queue::WAITING_MAX;
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Sink, emf};
use crate::delivery::tally::add;
use crate::logger::warn_once;
use crate::sys::{self, Stream};

impl Outbox {
    /// Marks the lines that can be written at once as begun. True if there are any. A stdout that
    /// has failed too often is left alone until SHUTDOWN, like any sink.
    pub(crate) fn begin_lines(&mut self, in_shutdown: bool) -> bool {
        let may_write = self.may_try(Sink::Emf, in_shutdown) && !self.is_stdout_full;
        let begins = may_write && self.queue.begin(Sink::Emf, WAITING_MAX);
        if begins {
            self.note_change();
        }
        begins
    }

    /// Writes the lines that [`Outbox::begin_lines`] marked. After a line that stdout does not
    /// take, the others wait too.
    #[cold]
    pub(crate) fn write_lines(&mut self, source: &Source<'_>) {
        self.note_change();
        let mut result = SendResult::Taken;
        for index in 0..WAITING_MAX {
            let Some(queued) = self.queue.get_mut(index) else { break };
            if !queued.begun.contains(Sink::Emf) {
                continue;
            }
            let detection = queued.detection;
            if result != SendResult::NotTaken {
                result = self.write_emf(&detection, source);
            }
            if let Some(queued) = self.queue.get_mut(index) {
                queued.end(Sink::Emf, result != SendResult::NotTaken);
            }
        }
        self.queue.sweep();
    }

    /// True if a line waits until stdout has room for it.
    pub(crate) const fn waits_for_stdout(&self) -> bool {
        self.is_stdout_full
    }

    /// Stdout has room again.
    pub(crate) const fn stdout_has_room(&mut self) {
        self.is_stdout_full = false;
    }

    /// Writes one line, and counts what became of it.
    pub(super) fn write_emf(&mut self, detection: &Detection, source: &Source<'_>) -> SendResult {
        let written = emf::write(&Metric::new(detection, source));
        let result = match written.as_ref().map_err(io::Error::kind) {
            Ok(()) => SendResult::Taken,
            Err(io::ErrorKind::InvalidInput) => SendResult::Refused,
            Err(io::ErrorKind::WriteZero) => SendResult::Unknown,
            Err(_) => SendResult::NotTaken,
        };
        let is_full =
            written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if let Err(error) = written {
            warn_once!("stdout does not take an out-of-memory metric: {error}");
        }
        let count = match result {
            SendResult::Taken => Some(&mut self.tally.written),
            SendResult::NotTaken => None,
            SendResult::Unknown => Some(&mut self.tally.unknown),
            SendResult::Refused => Some(&mut self.tally.dropped),
        };
        if let Some(count) = count {
            add(count, detection.count);
        }
        if is_full {
            self.is_stdout_full = true;
        } else {
            self.count_failures(Sink::Emf, result);
        }
        result
    }
}

/// Writes the sentence for a human. With `emf` alone, the metric's own line holds it.
pub(super) fn write_sentence(detection: &Detection) {
    let mut line = [0; 512];
    let Ok(length) = format::sentence::write(detection, &mut line) else { return };
    if let Some(end) = line.get_mut(length) {
        *end = b'\n';
    }
    // If stderr fails, there is nowhere else to say so.
    let _ = sys::write_line(Stream::Stderr, line.get(..=length).unwrap_or_default());
}
