//! What happens to a detection: it is kept until each of its sinks has it.
//!
//! Goes in: detections, and what became of the children that sent them. Comes out: a line on stdout
//! (`emf`), a sentence on stderr (with a network sink), and what to send next, where. Each delivery
//! is marked as begun before it begins, for the journal to keep: one that is found begun after a
//! restart is not made again. Nothing here waits: the event loop says when, and watches the child.
//!
//! One request carries as many detections as fit. Where the table of waiting detections is full, two
//! that are alike become one with their sum: the total is always right, only request ids are lost.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;

use log::warn;
use oom_witness_core::{Detection, Metric, Source, format};

use crate::delivery::sink::{COUNT, Sink, SinkSet, emf};
use crate::logger::warn_once;
use crate::sys::{self, Child, Stream, heap};

#[cfg(all(test, feature = "datadog"))]
mod tests;

/// Detections that wait at once. More are joined, so that this many keep their request ids: an
/// environment that runs out of memory is shut down at once, and more than a few are a dead network.
pub(crate) const WAITING_MAX: usize = 24;

/// Detections that one request carries. The others stay free to be joined, and are so many that two
/// of them always can be: each sink takes them in order, so they wait for at most [`COUNT`] different
/// sets of sinks, with two kinds of confidence.
const BATCH_MAX: usize = WAITING_MAX - (2 * COUNT + 1);

/// After that many failures in a row a sink is only tried in SHUTDOWN, so that a dead one cannot
/// slow a living function.
const FAILURES_MAX: u8 = 3;

/// The longest request body; it has to fit into an empty socket.
pub(crate) const BODY_SIZE: usize = 4000;

/// Detections that wait for a network, and what happened to those that left.
pub(crate) struct Outbox {
    waiting: heapless::Vec<Waiting, WAITING_MAX>,
    failures: [u8; COUNT],
    /// Metrics that the process before this one had begun to deliver.
    unknown: [u32; COUNT],
    /// Where every detection goes.
    sinks: SinkSet,
    tally: Tally,
    /// Changes with everything that the journal keeps.
    revision: u32,
    /// Stdout had no room for a line.
    is_stdout_full: bool,
}

/// A detection, and where it still has to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) detection: Detection,
    /// The sinks that do not have it.
    sinks: SinkSet,
    /// Those of them that may be about to have it.
    begun: SinkSet,
}

impl Waiting {
    /// How well two can be joined: best if nothing but request ids is lost, and those of few. `None`
    /// if they wait for different sinks, or one is on its way.
    fn likeness(&self, other: &Self) -> Option<u8> {
        let (one, two) = (&self.detection, &other.detection);
        let is_free = self.begun.is_empty() && other.begun.is_empty();
        let has_same_confidence = one.confidence == two.confidence;
        let has_same_evidence = has_same_confidence && one.evidence == two.evidence;
        let is_joined = one.count > 1 || two.count > 1;
        let likeness = u8::from(has_same_confidence) * 4
            + u8::from(has_same_evidence) * 2
            + u8::from(is_joined);
        (is_free && self.sinks == other.sinks).then_some(likeness)
    }

    /// What [`Waiting::bits`] gave, with its detection; `None` if it is nowhere expected.
    pub(crate) fn restore(detection: Detection, sinks: u8, begun: u8) -> Option<Self> {
        let (sinks, begun) = (SinkSet::from_bits(sinks), SinkSet::from_bits(begun));
        (!sinks.is_empty()).then_some(Self { detection, sinks, begun })
    }

    /// The two sets, for the journal.
    pub(crate) const fn bits(&self) -> [u8; 2] {
        [self.sinks.to_bits(), self.begun.to_bits()]
    }
}

/// What became of the detections, for the last line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Metrics in lines written by `emf`.
    pub(crate) written: u32,
    /// Metrics in lines that stdout has not taken: those that wait go out in the next process.
    pub(crate) unwritten: u32,
    /// Taken by their sink.
    pub(crate) sent: u32,
    /// Perhaps taken; not sent or written again.
    pub(crate) unknown: u32,
    /// Refused for good, or too long.
    pub(crate) dropped: u32,
    /// Left out because too many waited.
    pub(crate) overflowed: u32,
    /// Requests that surely were not taken.
    pub(crate) failed: u32,
}

/// One request on its way to one sink, with all detections that are marked as begun for it.
pub(crate) struct Sending {
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
    #[cfg(feature = "datadog")]
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Taken => 0,
            Self::NotTaken => 1,
            Self::Unknown => 2,
            Self::Refused => 3,
        }
    }

    /// What a child's end means. One that was killed, crashed or had no memory can have reached the
    /// sink only if it had begun to hand over the body.
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
            unknown: [0; COUNT],
            sinks: SinkSet::EMPTY,
            tally: Tally {
                written: 0,
                unwritten: 0,
                sent: 0,
                unknown: 0,
                dropped: 0,
                overflowed: 0,
                failed: 0,
            },
            revision: 0,
            is_stdout_full: false,
        }
    }

    /// Changes with everything that the journal keeps.
    pub(crate) const fn revision(&self) -> u32 {
        self.revision
    }

    const fn must_be_kept(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }

    /// Tells which sinks every detection goes to.
    pub(crate) const fn set_sinks(&mut self, sinks: SinkSet) {
        self.sinks = sinks;
    }

    /// Takes in what the process before this one left. What it had begun may have arrived: that is
    /// not sent again.
    #[cold]
    pub(crate) fn restore(&mut self, mut waiting: Waiting) {
        self.must_be_kept();
        for sink in waiting.begun.iter() {
            waiting.sinks.remove(sink);
            add(&mut self.tally.unknown, waiting.detection.count);
            if let Some(unknown) = self.unknown.get_mut(sink as usize) {
                add(unknown, waiting.detection.count);
            }
        }
        waiting.begun = SinkSet::default();
        if !waiting.sinks.is_empty() && self.waiting.push(waiting).is_err() {
            add(&mut self.tally.overflowed, waiting.detection.count);
        }
    }

    /// Says of how many metrics nobody knows whether the process before this one delivered them.
    pub(crate) fn warn_unknown(&self) {
        for sink in Sink::ALL {
            match self.unknown.get(sink as usize) {
                Some(0) | None => {}
                Some(1) => {
                    warn!("{} may have a metric of the process before this one", sink.name());
                }
                Some(count) => {
                    warn!(
                        "{} may have {count} metrics of the process before this one",
                        sink.name()
                    );
                }
            }
        }
    }

    /// Keeps a detection for its sinks.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&mut self, detection: &Detection, source: &Source<'_>) {
        self.must_be_kept();
        // Unit tests keep thousands.
        if self.has_network() && !cfg!(test) {
            write_sentence(detection);
        }
        let sinks = self.sinks;
        let waiting = Waiting { detection: *detection, sinks, begun: SinkSet::default() };
        if (!self.waiting.is_full() || self.join_two()) && self.waiting.push(waiting).is_ok() {
            return;
        }
        // Rather a line that a restart might repeat than none.
        if sinks.contains(Sink::Emf) && self.write_emf(detection, source) == Outcome::NotTaken {
            add(&mut self.tally.unwritten, detection.count);
        }
        if !sinks.network().is_empty() {
            warn_once!("too many detections wait for a network: some will be missing");
            add(&mut self.tally.overflowed, detection.count);
        }
    }

    /// Joins the two waiting detections that are most alike; false if no two can be joined.
    fn join_two(&mut self) -> bool {
        let mut best = None;
        for (index, one) in self.waiting.iter().enumerate() {
            let others = self.waiting.iter().enumerate().skip(index + 1);
            for (other_index, other) in others {
                best = best.max(one.likeness(other).map(|likeness| (likeness, index, other_index)));
            }
        }
        let Some((_, index, other_index)) = best else { return false };
        let other = self.waiting.remove(other_index);
        if let Some(one) = self.waiting.get_mut(index) {
            one.detection = one.detection.join(&other.detection);
        }
        true
    }

    /// What became of all of them so far.
    pub(crate) fn tally(&self) -> Tally {
        let is_unwritten = |waiting: &&Waiting| waiting.sinks.contains(Sink::Emf);
        let mut tally = self.tally;
        for waiting in self.waiting.iter().filter(is_unwritten) {
            add(&mut tally.unwritten, waiting.detection.count);
        }
        tally
    }

    /// What waits, for the journal.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// Marks what can be written at once as begun; true if there is something. A stdout that has
    /// failed too often is left alone until SHUTDOWN, as any sink.
    pub(crate) fn begin_lines(&mut self, in_shutdown: bool) -> bool {
        let mut begins = false;
        if !self.is_tried(Sink::Emf, in_shutdown) || self.is_stdout_full {
            return begins;
        }
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.sinks.contains(Sink::Emf)) {
            waiting.begun.insert(Sink::Emf);
            begins = true;
        }
        if begins {
            self.must_be_kept();
        }
        begins
    }

    /// Writes what [`Outbox::begin_lines`] marked. Once stdout has not taken a line, the others wait
    /// with it.
    #[cold]
    pub(crate) fn write_lines(&mut self, source: &Source<'_>) {
        self.must_be_kept();
        let mut outcome = Outcome::Taken;
        for index in 0..self.waiting.len() {
            let Some(Waiting { detection, begun, .. }) = self.waiting.get(index).copied() else {
                break;
            };
            if !begun.contains(Sink::Emf) {
                continue;
            }
            if outcome != Outcome::NotTaken {
                outcome = self.write_emf(&detection, source);
            }
            let Some(waiting) = self.waiting.get_mut(index) else { break };
            waiting.begun.remove(Sink::Emf);
            if outcome != Outcome::NotTaken {
                waiting.sinks.remove(Sink::Emf);
            }
        }
        self.sweep();
    }

    /// True if a line waits until stdout has room for it.
    pub(crate) const fn waits_for_stdout(&self) -> bool {
        self.is_stdout_full
    }

    /// Stdout has room again.
    pub(crate) const fn stdout_has_room(&mut self) {
        self.is_stdout_full = false;
    }

    /// Lets go of what is delivered.
    fn sweep(&mut self) {
        self.waiting.retain(|waiting| !waiting.sinks.is_empty());
    }

    fn write_emf(&mut self, detection: &Detection, source: &Source<'_>) -> Outcome {
        let result = emf::write(&Metric::new(detection, source));
        let outcome = match result.as_ref().map_err(io::Error::kind) {
            Ok(()) => Outcome::Taken,
            Err(io::ErrorKind::InvalidInput) => Outcome::Refused,
            Err(io::ErrorKind::WriteZero) => Outcome::Unknown,
            Err(_) => Outcome::NotTaken,
        };
        let is_full = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if let Err(error) = result {
            warn_once!("stdout does not take an out-of-memory metric: {error}");
        }
        let count = match outcome {
            Outcome::Taken => Some(&mut self.tally.written),
            Outcome::NotTaken => None,
            Outcome::Unknown => Some(&mut self.tally.unknown),
            Outcome::Refused => Some(&mut self.tally.dropped),
        };
        if let Some(count) = count {
            add(count, detection.count);
        }
        if is_full {
            self.is_stdout_full = true;
        } else {
            self.note(Sink::Emf, outcome);
        }
        outcome
    }

    /// True if nothing waits for a network.
    pub(crate) fn is_sent(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.sinks.network().is_empty())
    }

    /// True if there is a sink behind a network.
    pub(crate) fn has_network(&self) -> bool {
        !self.sinks.network().is_empty()
    }

    /// True if something waits that may be tried now.
    pub(crate) fn is_due(&self, in_shutdown: bool) -> bool {
        self.next_sink(in_shutdown).is_some()
    }

    /// Marks what the next request carries as begun: for the first sink that is due, all that waits
    /// for it and fits. Gives the sink, and the length of the request's body in `buffer`.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_send(
        &mut self,
        in_shutdown: bool,
        source: &Source<'_>,
        now_ms: u64,
        buffer: &mut [u8; BODY_SIZE],
    ) -> Option<(Sink, usize)> {
        loop {
            let sink = self.next_sink(in_shutdown)?;
            self.must_be_kept();
            let whole = self.write_batch(sink, source, now_ms, buffer);
            let (count, length) = whole.unwrap_or((1, 0));
            let wait = self.waiting.iter_mut().filter(|waiting| waiting.sinks.contains(sink));
            for waiting in wait.take(count) {
                waiting.begun.insert(sink);
            }
            if whole.is_some() {
                return Some((sink, length));
            }
            warn_once!("a metric is too long for {}", sink.name());
            self.settle(sink, Outcome::Refused);
        }
    }

    /// Writes the body of a request that carries as much as fits of what waits for `sink`: how many
    /// detections, and the body's length. `None` if not one fits.
    fn write_batch(
        &self,
        sink: Sink,
        source: &Source<'_>,
        now_ms: u64,
        buffer: &mut [u8; BODY_SIZE],
    ) -> Option<(usize, usize)> {
        let waiting = self.waiting.iter().filter(|waiting| waiting.sinks.contains(sink));
        let metrics = waiting.map(|waiting| Metric::new(&waiting.detection, source));
        let metrics: heapless::Vec<Metric<'_>, BATCH_MAX> = metrics.take(BATCH_MAX).collect();
        (1..=metrics.len()).rev().find_map(|count| {
            let batch = metrics.get(..count)?;
            sink.body(batch, now_ms, buffer).ok().map(|length| (count, length))
        })
    }

    /// Starts a child for what [`Outbox::begin_send`] marked.
    ///
    /// # Errors
    /// No child could be started, which counts as a failure of the sink.
    #[cold]
    #[inline(never)]
    pub(crate) fn start(&mut self, sink: Sink, body: &[u8]) -> Result<Sending, io::Error> {
        let arguments = [c"oom-witness", c"send", sink.argument(), c"again"];
        // Only a first failure is told, not each of those that follow it.
        let is_again = self.failures.get(sink as usize).is_some_and(|failures| *failures > 0);
        let count = if is_again { 4 } else { 3 };
        match sys::spawn(arguments.get(..count).unwrap_or_default(), body) {
            Ok(child) => Ok(Sending { sink, child, handed_over: false }),
            Err(error) => {
                self.settle(sink, Outcome::NotTaken);
                Err(error)
            }
        }
    }

    /// Takes note of how a send ended, or ends it now (`kill`); true if the sink has taken it.
    pub(crate) fn end(&mut self, sending: Sending, kill: bool) -> bool {
        let Sending { sink, child, handed_over } = sending;
        let status = child.end(kill);
        let exit_code = status.and_then(|status| status.code());
        let outcome = Outcome::of_child(exit_code, handed_over);
        // Who ends by a code of its own has said why.
        if exit_code.is_none_or(|code| code > heap::NO_MEMORY.into()) {
            match status.and_then(|status| status.signal()) {
                Some(signal) if !kill => {
                    warn_once!("sending to {} ended by signal {signal}: {outcome:?}", sink.name());
                }
                _ => warn_once!("sending to {} was cut short: {outcome:?}", sink.name()),
            }
        }
        self.settle(sink, outcome);
        outcome == Outcome::Taken
    }

    /// The first sink for which something waits, and which may be tried.
    fn next_sink(&self, in_shutdown: bool) -> Option<Sink> {
        let is_tried = |sink: &Sink| self.is_tried(*sink, in_shutdown);
        self.waiting.iter().find_map(|waiting| waiting.sinks.network().iter().find(is_tried))
    }

    fn is_tried(&self, sink: Sink, in_shutdown: bool) -> bool {
        in_shutdown || self.failures.get(sink as usize) < Some(&FAILURES_MAX)
    }

    /// Counts a sink's failures in a row.
    fn note(&mut self, sink: Sink, outcome: Outcome) {
        if let Some(failures) = self.failures.get_mut(sink as usize) {
            *failures = if outcome == Outcome::Taken { 0 } else { failures.saturating_add(1) };
        }
    }

    /// Takes note of what became of the request to `sink` that had begun.
    fn settle(&mut self, sink: Sink, outcome: Outcome) {
        self.must_be_kept();
        let mut total = 0;
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.begun.contains(sink)) {
            add(&mut total, waiting.detection.count);
            waiting.begun.remove(sink);
            if outcome != Outcome::NotTaken {
                waiting.sinks.remove(sink);
            }
        }
        match outcome {
            Outcome::Taken => add(&mut self.tally.sent, total),
            Outcome::NotTaken => add(&mut self.tally.failed, 1),
            Outcome::Unknown => add(&mut self.tally.unknown, total),
            Outcome::Refused => add(&mut self.tally.dropped, total),
        }
        self.note(sink, outcome);
        self.sweep();
    }
}

const fn add(counter: &mut u32, count: u32) {
    *counter = counter.saturating_add(count);
}

impl Sending {
    /// Where the child says more.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.child.output()
    }

    /// Reads what it said once there is something; true if the child has ended.
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
