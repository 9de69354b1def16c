//! What happens to a detection: written at once, or kept until a network has taken it.
//!
//! Goes in: detections, and what became of the children that sent them. Comes out: a line on stdout
//! (`emf`), a sentence on stderr (with a network sink), and what to send next, where. Nothing here
//! waits: the event loop says when, and watches the child.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;

use oom_witness_core::{Detection, Metric, Source, format};

use super::{COUNT, Sink, SinkSet, emf};
use crate::sys::{self, Child, Spawner, Stream};
use crate::warn_once;

#[cfg(all(test, feature = "datadog"))]
mod tests;

/// Detections that wait for a network at once. Each failed send leaves one here, and an environment
/// that runs out of memory is shut down at once, so that more than a few are a dead network.
const WAITING_MAX: usize = 16;

/// After that many failures in a row a sink is only tried in SHUTDOWN, so that a dead one cannot
/// slow a living function.
const FAILURES_MAX: u8 = 3;

/// The longest request body; it has to fit into an empty pipe.
const BODY_SIZE: usize = 4000;

/// Detections that wait for a network, and what happened to those that left.
pub(crate) struct Outbox {
    waiting: heapless::Vec<Waiting, WAITING_MAX>,
    failures: [u8; COUNT],
    /// Those behind a network.
    sinks: SinkSet,
    writes_emf: bool,
    pub(crate) tally: Tally,
}

#[derive(Clone, Copy)]
struct Waiting {
    detection: Detection,
    sinks: SinkSet,
}

/// What became of the detections, for the last line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Lines written by `emf`.
    pub(crate) written: u32,
    /// Lines that stdout did not take.
    pub(crate) unwritten: u32,
    /// Taken by their sink.
    pub(crate) sent: u32,
    /// Perhaps taken; not sent again.
    pub(crate) unknown: u32,
    /// Refused for good, or too long to be sent.
    pub(crate) dropped: u32,
    /// Left out because too many waited.
    pub(crate) overflowed: u32,
    /// Requests that surely were not taken.
    pub(crate) failed: u32,
}

/// One detection on its way to one sink.
pub(crate) struct Sending {
    index: usize,
    sink: Sink,
    child: Child,
    handed_over: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The sink has it.
    Taken,
    /// The sink surely does not have it: it may be sent again.
    NotTaken,
    /// The sink may have it: it must not be sent again.
    Unknown,
    /// The sink does not want it.
    Refused,
}

impl Outcome {
    /// The exit code by which a child tells it.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Taken => 0,
            Self::NotTaken => 1,
            Self::Unknown => 2,
            Self::Refused => 3,
        }
    }

    /// What a child's end means. A child that says nothing, because it was killed or crashed, can
    /// have reached the sink only if it had begun to hand over the body.
    pub(crate) const fn of_child(exit_code: Option<c_int>, handed_over: bool) -> Self {
        match (exit_code, handed_over) {
            (Some(0), _) => Self::Taken,
            (Some(3), _) => Self::Refused,
            (Some(1), _) | (Some(4..) | None, false) => Self::NotTaken,
            _ => Self::Unknown,
        }
    }
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            waiting: heapless::Vec::new(),
            failures: [0; COUNT],
            sinks: SinkSet(0),
            writes_emf: false,
            tally: Tally {
                written: 0,
                unwritten: 0,
                sent: 0,
                unknown: 0,
                dropped: 0,
                overflowed: 0,
                failed: 0,
            },
        }
    }

    /// Tells which sinks every detection goes to.
    pub(crate) fn set_sinks(&mut self, sinks: SinkSet) {
        self.writes_emf = sinks.contains(Sink::Emf);
        self.sinks = sinks.network();
    }

    /// Writes a detection where that is possible at once, and keeps it for the network sinks.
    #[cold]
    #[inline(never)]
    pub(crate) fn deliver(&mut self, detection: &Detection, source: &Source<'_>) {
        if self.writes_emf {
            let count = match emf::write(&Metric::new(detection, source)) {
                Ok(()) => &mut self.tally.written,
                Err(error) => {
                    warn_once!("stdout does not take an out-of-memory metric: {error}");
                    &mut self.tally.unwritten
                }
            };
            *count = count.saturating_add(1);
        }
        if !self.sinks.is_empty() {
            write_sentence(detection);
            self.keep(detection);
        }
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True if something waits that may be tried now.
    pub(crate) fn is_due(&self, in_shutdown: bool) -> bool {
        self.next(in_shutdown).is_some()
    }

    /// Starts a child for what is due; `None` if nothing is, or if no child could be started, which
    /// counts as a failure of the sink.
    #[cold]
    #[inline(never)]
    pub(crate) fn start(
        &mut self,
        spawner: &Spawner,
        source: &Source<'_>,
        now_ms: u64,
        in_shutdown: bool,
    ) -> Result<Option<Sending>, io::Error> {
        let Some((index, sink, detection)) = self.next(in_shutdown) else { return Ok(None) };
        let mut buffer = [0; BODY_SIZE];
        let length = sink.body(&detection, source, now_ms, &mut buffer);
        let Some(body) = length.ok().and_then(|length| buffer.get(..length)) else {
            self.settle(index, sink, Outcome::Refused);
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let arguments = [c"oom-witness", c"send", sink.argument(), c"again"];
        // Only a first failure is told, not each of those that follow it.
        let is_again = self.failures.get(sink as usize).is_some_and(|failures| *failures > 0);
        let count = if is_again { 4 } else { 3 };
        match spawner.spawn(arguments.get(..count).unwrap_or_default(), body) {
            Ok(child) => Ok(Some(Sending { index, sink, child, handed_over: false })),
            Err(error) => {
                self.settle(index, sink, Outcome::NotTaken);
                Err(error)
            }
        }
    }

    /// Takes note of how a send ended, or ends it now (`kill`); true if the sink has taken it.
    pub(crate) fn end(&mut self, sending: Sending, kill: bool) -> bool {
        let Sending { index, sink, child, handed_over } = sending;
        let exit_code = child.end(kill);
        let outcome = Outcome::of_child(exit_code, handed_over);
        if exit_code.is_none_or(|code| code > i32::from(Outcome::Refused.exit_code())) {
            warn_once!("sending to {} was cut short: {outcome:?}", sink.name());
        }
        self.settle(index, sink, outcome);
        outcome == Outcome::Taken
    }

    fn keep(&mut self, detection: &Detection) {
        let waiting = Waiting { detection: *detection, sinks: self.sinks };
        if self.waiting.push(waiting).is_err() {
            warn_once!("too many detections wait for a network: some will be missing");
            self.tally.overflowed = self.tally.overflowed.saturating_add(1);
        }
    }

    fn next(&self, in_shutdown: bool) -> Option<(usize, Sink, Detection)> {
        let is_tried =
            |sink: &Sink| in_shutdown || self.failures.get(*sink as usize) < Some(&FAILURES_MAX);
        self.waiting.iter().enumerate().find_map(|(index, waiting)| {
            let sink = waiting.sinks.iter().find(is_tried)?;
            Some((index, sink, waiting.detection))
        })
    }

    fn settle(&mut self, index: usize, sink: Sink, outcome: Outcome) {
        let count = match outcome {
            Outcome::Taken => &mut self.tally.sent,
            Outcome::NotTaken => &mut self.tally.failed,
            Outcome::Unknown => &mut self.tally.unknown,
            Outcome::Refused => &mut self.tally.dropped,
        };
        *count = count.saturating_add(1);
        if let Some(failures) = self.failures.get_mut(sink as usize) {
            *failures = if outcome == Outcome::Taken { 0 } else { failures.saturating_add(1) };
        }
        if outcome == Outcome::NotTaken {
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(index) {
            waiting.sinks.remove(sink);
            if waiting.sinks.is_empty() {
                self.waiting.remove(index);
            }
        }
    }
}

impl Sending {
    /// The pipe that says more about the child.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.child.output()
    }

    /// Reads that pipe once it is ready; true if the child has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut byte = [0; 8];
        match self.child.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.handed_over = true;
                false
            }
            // Read again at the next turn; the deadline bounds it.
            Err(_) => false,
        }
    }
}

/// The line for a human; with `emf` alone the metric's own line holds it.
fn write_sentence(detection: &Detection) {
    let mut line = [0; 512];
    let Ok(length) = format::sentence::write(detection, &mut line) else { return };
    if let Some(end) = line.get_mut(length) {
        *end = b'\n';
    }
    // Nobody is left to be told if stderr fails.
    let _ = sys::write_line(Stream::Stderr, line.get(..=length).unwrap_or_default());
}
