//! What the agent writes itself: lines to stdout, datagrams, and the sentences for a human.
//!
//! In: the detections that wait for a sink which needs no child. Out: a line or a datagram for
//! each, as soon as the sink takes it. Each is marked as begun, and the journal saved, before it is
//! written.

use std::io;
use std::time::{Duration, Instant};

use log::warn;
use oom_witness_core::{Detection, Metric, format};

use super::Outbox;
use crate::delivery::queue::WAITING_MAX;
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Sink, SinkContext};
use crate::delivery::tally::add;
use crate::sys::{self, Stream};

/// After a datagram that nobody took, the next event that comes this much later repeats it.
const REST: Duration = Duration::from_secs(1);

impl Outbox {
    /// Marks what can be written at once as begun. True if there is anything.
    pub(crate) fn begin_writes(&mut self, in_shutdown: bool) -> bool {
        // As in each commit of a quiet invocation.
        if self.queue.is_empty() {
            return false;
        }
        let mut begins = false;
        for sink in Sink::direct() {
            if self.may_write(sink, in_shutdown) {
                begins |= self.queue.begin(sink, WAITING_MAX);
            }
        }
        if begins {
            self.note_change();
        }
        begins
    }

    /// A stdout that has failed too often is left alone until SHUTDOWN, like any sink. A datagram
    /// costs little, so it is tried again and again.
    fn may_write(&self, sink: Sink, in_shutdown: bool) -> bool {
        if sink.waits_for_stdout() {
            return self.may_try(sink, in_shutdown) && !self.is_stdout_full;
        }
        in_shutdown || self.resting_until.is_none_or(|until| until <= Instant::now())
    }

    /// Writes what [`Outbox::begin_writes`] marked. After a metric that a sink does not take, the
    /// others wait too.
    #[cold]
    pub(crate) fn write(&mut self, context: &SinkContext<'_>) {
        self.note_change();
        for sink in Sink::direct() {
            self.write_begun(sink, context);
        }
        self.queue.sweep();
    }

    fn write_begun(&mut self, sink: Sink, context: &SinkContext<'_>) {
        let mut result = SendResult::Taken;
        for index in 0..WAITING_MAX {
            let Some(queued) = self.queue.get_mut(index) else { break };
            if !queued.begun.contains(sink) {
                continue;
            }
            let detection = queued.detection;
            if result != SendResult::NotTaken {
                result = self.write_to(sink, &detection, context);
            }
            if let Some(queued) = self.queue.get_mut(index) {
                queued.end(sink, result != SendResult::NotTaken);
            }
        }
    }

    /// True if a line waits until stdout has room for it.
    pub(crate) const fn waits_for_stdout(&self) -> bool {
        self.is_stdout_full
    }

    /// Stdout has room again.
    pub(crate) const fn stdout_has_room(&mut self) {
        self.is_stdout_full = false;
    }

    /// Writes one metric, and counts what became of it.
    #[cold]
    #[inline(never)]
    pub(super) fn write_to(
        &mut self,
        sink: Sink,
        detection: &Detection,
        context: &SinkContext<'_>,
    ) -> SendResult {
        let written = sink.write(&Metric::new(detection, &context.source), context.settings);
        let result = match written.as_ref().map_err(io::Error::kind) {
            Ok(()) => SendResult::Taken,
            Err(io::ErrorKind::InvalidInput) => SendResult::Refused,
            Err(io::ErrorKind::WriteZero) => SendResult::Unknown,
            Err(_) => SendResult::NotTaken,
        };
        let count = match result {
            SendResult::Taken => Some(&mut self.tally.written),
            SendResult::NotTaken => None,
            SendResult::Unknown => Some(&mut self.tally.unknown),
            SendResult::Refused => Some(&mut self.tally.dropped),
        };
        if let Some(count) = count {
            add(count, detection.count);
        }
        let is_full = sink.waits_for_stdout()
            && written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if let Err(error) = written {
            self.note_failed_write(sink, &error);
        }
        if is_full {
            self.is_stdout_full = true;
        } else {
            self.count_failures(sink, result);
        }
        result
    }

    #[cold]
    #[inline(never)]
    fn note_failed_write(&mut self, sink: Sink, error: &io::Error) {
        if !self.logged.contains(sink) {
            self.logged.insert(sink);
            warn!("{} does not take an out-of-memory metric: {error}", sink.place());
        }
        if !sink.waits_for_stdout() {
            self.resting_until = Instant::now().checked_add(REST);
        }
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
