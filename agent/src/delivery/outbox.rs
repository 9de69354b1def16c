//! Keeps each detection until every sink has it.
//!
//! In: detections, and what became of the children that sent them. Out: a line on stdout (`emf`), a
//! sentence on stderr (with a network sink), and the next request. A delivery is marked as begun
//! before it begins, for the journal. After a restart, the outbox does not repeat a delivery that
//! had begun. Nothing here waits: the event loop says when, and watches the child.
//!
//! One request carries as many detections as fit. When the table is full, two detections that are
//! alike become one with their sum. So the total is always right, and only request ids are lost.

use std::io;
use std::os::unix::process::ExitStatusExt;

use log::warn;
use oom_witness_core::{Detection, Metric, Source, format};

use crate::delivery::queued_detection::QueuedDetection;
use crate::delivery::running_send::RunningSend;
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Sink, SinkSet, emf};
use crate::logger::warn_once;
use crate::sys::{self, Stream, heap};

#[cfg(all(test, feature = "datadog"))]
mod tests;

/// Detections that wait at once, each with its request id. Further ones are joined. Lambda shuts an
/// environment down at once when it runs out of memory, so more than a few mean a dead network.
pub(crate) const WAITING_MAX: usize = 24;

/// Detections that one request carries. The others stay free, and two of them can always be joined:
/// each sink takes detections in order, so the free ones wait for at most [`Sink::COUNT`] different
/// sets of sinks, with two kinds of confidence.
const BATCH_MAX: usize = WAITING_MAX - (2 * Sink::COUNT + 1);

/// After this many failures in a row a sink is tried only in SHUTDOWN, so that a dead sink cannot
/// slow a living function.
const FAILURES_MAX: u8 = 3;

/// The longest request body. It has to fit into an empty socket.
pub(crate) const BODY_SIZE: usize = 4000;

/// Detections that wait for a network, and what happened to those that left.
pub(crate) struct Outbox {
    waiting: heapless::Vec<QueuedDetection, WAITING_MAX>,
    failures: [u8; Sink::COUNT],
    /// Metrics that the previous process had begun to deliver, for each sink.
    unknown: [u32; Sink::COUNT],
    /// Metrics of the previous process for sinks that this build does not have.
    unbuilt: u32,
    /// Where each detection goes.
    sinks: SinkSet,
    tally: Tally,
    /// Changes whenever the journal must be written again.
    revision: u32,
    /// Stdout had no room for a line.
    is_stdout_full: bool,
}

/// What became of the detections, for the last line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Metrics in lines written by `emf`.
    pub(crate) written: u32,
    /// Metrics in lines that stdout has not taken. Those that still wait go out in the next
    /// process.
    pub(crate) unwritten: u32,
    /// Taken by their sink.
    pub(crate) sent: u32,
    /// Perhaps taken, and so not sent or written again.
    pub(crate) unknown: u32,
    /// Refused for good, too long, or for a sink that this build does not have.
    pub(crate) dropped: u32,
    /// Left out because too many waited.
    pub(crate) overflowed: u32,
    /// Requests that surely were not taken.
    pub(crate) failed: u32,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            waiting: heapless::Vec::new(),
            failures: [0; Sink::COUNT],
            unknown: [0; Sink::COUNT],
            unbuilt: 0,
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

    /// Changes whenever the journal must be written again.
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

    /// Takes in what the previous process left. What it had begun may have arrived, and is not sent
    /// again.
    #[cold]
    pub(crate) fn restore(&mut self, mut waiting: QueuedDetection) {
        self.must_be_kept();
        let count = waiting.detection.count;
        if waiting.sinks != waiting.sinks.built() {
            add(&mut self.tally.dropped, count);
            add(&mut self.unbuilt, count);
        }
        waiting.sinks = waiting.sinks.built();
        for sink in waiting.begun.iter() {
            waiting.sinks.remove(sink);
            add(&mut self.tally.unknown, count);
            if let Some(unknown) = self.unknown.get_mut(sink as usize) {
                add(unknown, count);
            }
        }
        waiting.begun = SinkSet::EMPTY;
        if !waiting.sinks.is_empty() && self.waiting.push(waiting).is_err() {
            add(&mut self.tally.overflowed, count);
        }
    }

    /// Warns of metrics of the previous process that may be missing or sent already.
    pub(crate) fn warn_unknown(&self) {
        for (sink, count) in Sink::ALL.iter().zip(self.unknown) {
            match count {
                0 => {}
                1 => warn!("{} may have a metric of the previous process", sink.name()),
                count => {
                    warn!("{} may have {count} metrics of the previous process", sink.name());
                }
            }
        }
        if self.unbuilt > 0 {
            warn!(
                "dropped {} metrics of the previous process: this build does not have their sink",
                self.unbuilt
            );
        }
    }

    /// Keeps a detection for its sinks.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&mut self, detection: &Detection, source: &Source<'_>) {
        self.must_be_kept();
        // Unit tests keep thousands of them.
        if self.has_network() && !cfg!(test) {
            write_sentence(detection);
        }
        let sinks = self.sinks;
        let waiting = QueuedDetection { detection: *detection, sinks, begun: SinkSet::EMPTY };
        if (!self.waiting.is_full() || self.join_two()) && self.waiting.push(waiting).is_ok() {
            return;
        }
        // A line that a restart might repeat is better than none.
        if sinks.contains(Sink::Emf) && self.write_emf(detection, source) == SendResult::NotTaken {
            add(&mut self.tally.unwritten, detection.count);
        }
        if !sinks.network().is_empty() {
            warn_once!("too many detections wait for a network: some will be missing");
            add(&mut self.tally.overflowed, detection.count);
        }
    }

    /// Joins the two waiting detections that are most alike. False if no two can be joined.
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
        let is_unwritten = |waiting: &&QueuedDetection| waiting.sinks.contains(Sink::Emf);
        let mut tally = self.tally;
        for waiting in self.waiting.iter().filter(is_unwritten) {
            add(&mut tally.unwritten, waiting.detection.count);
        }
        tally
    }

    /// What waits, for the journal.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &QueuedDetection> {
        self.waiting.iter()
    }

    /// Marks as begun what can be written at once. True if there is something. A stdout that has
    /// failed too often is left alone until SHUTDOWN, like any sink.
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

    /// Writes what [`Outbox::begin_lines`] marked. After a line that stdout does not take, the
    /// others wait too.
    #[cold]
    pub(crate) fn write_lines(&mut self, source: &Source<'_>) {
        self.must_be_kept();
        let mut result = SendResult::Taken;
        for index in 0..self.waiting.len() {
            let Some(QueuedDetection { detection, begun, .. }) = self.waiting.get(index).copied()
            else {
                break;
            };
            if !begun.contains(Sink::Emf) {
                continue;
            }
            if result != SendResult::NotTaken {
                result = self.write_emf(&detection, source);
            }
            let Some(waiting) = self.waiting.get_mut(index) else { break };
            waiting.begun.remove(Sink::Emf);
            if result != SendResult::NotTaken {
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

    /// Removes what every sink has.
    fn sweep(&mut self) {
        self.waiting.retain(|waiting| !waiting.sinks.is_empty());
    }

    fn write_emf(&mut self, detection: &Detection, source: &Source<'_>) -> SendResult {
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
            self.note(Sink::Emf, result);
        }
        result
    }

    /// True if nothing waits for a network.
    pub(crate) fn is_sent(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.sinks.network().is_empty())
    }

    /// True if a sink needs a network.
    pub(crate) fn has_network(&self) -> bool {
        !self.sinks.network().is_empty()
    }

    /// True if something waits that may be tried now.
    pub(crate) fn is_due(&self, in_shutdown: bool) -> bool {
        self.next_sink(in_shutdown).is_some()
    }

    /// Writes the body of the next request into `buffer`, and marks what it carries as begun. It is
    /// for the first sink that is due, and carries as much as fits of what waits for that sink.
    /// Returns the sink, and the length of the body.
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
            self.settle(sink, SendResult::Refused);
        }
    }

    /// Writes the body of a request that carries as much as fits of what waits for `sink`. Returns
    /// the number of detections, and the length of the body. `None` if not even one fits.
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
    pub(crate) fn start(&mut self, sink: Sink, body: &[u8]) -> Result<RunningSend, io::Error> {
        let arguments = [c"oom-witness", c"send", sink.c_name(), c"again"];
        // Only the first of several failures is logged.
        let is_again = self.failures.get(sink as usize).is_some_and(|failures| *failures > 0);
        let count = if is_again { 4 } else { 3 };
        match sys::spawn(arguments.get(..count).unwrap_or_default(), body) {
            Ok(child) => Ok(RunningSend { sink, child, has_handed_over: false }),
            Err(error) => {
                self.settle(sink, SendResult::NotTaken);
                Err(error)
            }
        }
    }

    /// Notes how a send ended, or ends it now (`kill`). True if the sink has taken it.
    pub(crate) fn end(&mut self, running: RunningSend, kill: bool) -> bool {
        let RunningSend { sink, child, has_handed_over } = running;
        let status = child.end(kill);
        let exit_code = status.and_then(|status| status.code());
        let result = SendResult::of_child(exit_code, has_handed_over);
        // A child that ends with a code of its own has logged why.
        if exit_code.is_none_or(|code| code > heap::NO_MEMORY.into()) {
            match status.and_then(|status| status.signal()) {
                Some(signal) if !kill => {
                    warn_once!("sending to {} ended by signal {signal}: {result:?}", sink.name());
                }
                _ => warn_once!("sending to {} was cut short: {result:?}", sink.name()),
            }
        }
        self.settle(sink, result);
        result == SendResult::Taken
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
    fn note(&mut self, sink: Sink, result: SendResult) {
        if let Some(failures) = self.failures.get_mut(sink as usize) {
            *failures = if result == SendResult::Taken { 0 } else { failures.saturating_add(1) };
        }
    }

    /// Notes what became of the request to `sink` that had begun.
    fn settle(&mut self, sink: Sink, result: SendResult) {
        self.must_be_kept();
        let mut total = 0;
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.begun.contains(sink)) {
            add(&mut total, waiting.detection.count);
            waiting.begun.remove(sink);
            if result != SendResult::NotTaken {
                waiting.sinks.remove(sink);
            }
        }
        match result {
            SendResult::Taken => add(&mut self.tally.sent, total),
            SendResult::NotTaken => add(&mut self.tally.failed, 1),
            SendResult::Unknown => add(&mut self.tally.unknown, total),
            SendResult::Refused => add(&mut self.tally.dropped, total),
        }
        self.note(sink, result);
        self.sweep();
    }
}

const fn add(counter: &mut u32, count: u32) {
    *counter = counter.saturating_add(count);
}

/// Writes the line for a human. With `emf` alone, the metric's own line holds the sentence.
fn write_sentence(detection: &Detection) {
    let mut line = [0; 512];
    let Ok(length) = format::sentence::write(detection, &mut line) else { return };
    if let Some(end) = line.get_mut(length) {
        *end = b'\n';
    }
    // If stderr fails, there is nowhere else to say so.
    let _ = sys::write_line(Stream::Stderr, line.get(..=length).unwrap_or_default());
}
