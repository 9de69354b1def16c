//! Keeps each detection until every sink has it.
//!
//! In: detections, and what became of the children that sent them. Out: lines on stdout (`emf`) and
//! datagrams, a sentence on stderr (with another sink than `emf`), and the next request. A delivery
//! is marked as begun before it begins, for the journal. After a restart, the outbox does not
//! repeat a delivery that had begun. Nothing here waits: the event loop says when, and watches the
//! child.
//!
//! `writes` is for the sinks that the agent writes to itself. `requests` writes the bodies of
//! requests, and starts and ends the children that send them.

use std::time::Instant;

use log::warn;
use oom_witness_core::Detection;
use oom_witness_core::format::otlp::OtlpSums;

use crate::delivery::queue::DetectionQueue;
use crate::delivery::queued_detection::QueuedDetection;
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{Sink, SinkContext, SinkSet};
use crate::delivery::tally::{DeliveryTally, add};
use crate::logger::warn_once;

mod requests;
#[cfg(all(test, feature = "datadog"))]
mod tests;
mod writes;

pub(crate) use self::requests::BODY_SIZE;

/// After this many failures in a row a sink is tried only in SHUTDOWN, so that a dead sink cannot
/// slow a living function.
const FAILURES_MAX: u8 = 3;

/// The detections that wait, and what became of the others.
pub(crate) struct Outbox {
    queue: DetectionQueue,
    /// How often each sink has failed in a row.
    failures: [u8; Sink::COUNT],
    /// Metrics that the previous process had begun to deliver, for each sink.
    unknown: [u32; Sink::COUNT],
    /// Metrics of the previous process for sinks that this build does not have.
    unbuilt: u32,
    /// Where each detection goes.
    sinks: SinkSet,
    /// The sinks whose child first fetches a key from AWS.
    key_sinks: SinkSet,
    tally: DeliveryTally,
    /// Changes whenever the journal must be written again.
    revision: u32,
    /// Stdout had no room for a line.
    is_stdout_full: bool,
    /// Nobody took a datagram, so none is sent before this time.
    resting_until: Option<Instant>,
    /// The sinks whose first failed write has been logged.
    logged: SinkSet,
    /// What this process has counted for each sink, as far as its delivery is over.
    sums: [OtlpSums; Sink::COUNT],
    /// The sink that has asked last to be left alone, and until when.
    left_alone: Option<(Sink, Instant)>,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            queue: DetectionQueue::new(),
            failures: [0; Sink::COUNT],
            unknown: [0; Sink::COUNT],
            unbuilt: 0,
            sinks: SinkSet::EMPTY,
            key_sinks: SinkSet::EMPTY,
            tally: DeliveryTally::ZERO,
            revision: 0,
            is_stdout_full: false,
            resting_until: None,
            logged: SinkSet::EMPTY,
            sums: [OtlpSums::ZERO; Sink::COUNT],
            left_alone: None,
        }
    }

    /// Changes whenever the journal must be written again.
    pub(crate) const fn revision(&self) -> u32 {
        self.revision
    }

    /// The journal must be written again.
    const fn note_change(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }

    /// Sets the sinks that every detection goes to.
    pub(crate) const fn set_sinks(&mut self, sinks: SinkSet) {
        self.sinks = sinks;
    }

    /// Sets the sinks whose child first fetches a key from AWS.
    pub(crate) const fn set_key_sinks(&mut self, key_sinks: SinkSet) {
        self.key_sinks = key_sinks;
    }

    /// Takes in a detection that the previous process left. A delivery that had begun may have
    /// arrived, and is not repeated.
    #[cold]
    pub(crate) fn restore(&mut self, mut queued: QueuedDetection) {
        self.note_change();
        let count = queued.detection.count;
        if queued.sinks != queued.sinks.built() {
            add(&mut self.tally.dropped, count);
            add(&mut self.unbuilt, count);
        }
        queued.sinks = queued.sinks.built();
        for sink in queued.begun.iter() {
            queued.sinks.remove(sink);
            add(&mut self.tally.unknown, count);
            if let Some(unknown) = self.unknown.get_mut(sink as usize) {
                add(unknown, count);
            }
        }
        queued.begun = SinkSet::EMPTY;
        if !queued.sinks.is_empty() && !self.queue.push(queued) {
            add(&mut self.tally.overflowed, count);
        }
    }

    /// Warns of metrics of the previous process that a sink may have already, or that are dropped.
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
                "dropped metrics of the previous process whose sink this build does not have: {}",
                self.unbuilt
            );
        }
    }

    /// Keeps a detection for its sinks.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&mut self, detection: &Detection, context: &SinkContext<'_>) {
        self.note_change();
        let sinks = self.sinks;
        // The line of `emf` alone has the sentence in it. Unit tests keep thousands of them.
        if sinks.iter().any(|sink| sink != Sink::Emf) && !cfg!(test) {
            writes::write_sentence(detection);
        }
        let queued = QueuedDetection { detection: *detection, sinks, begun: SinkSet::EMPTY };
        if self.queue.push_or_join(queued) {
            return;
        }
        // A metric that a restart might repeat is better than none.
        for sink in sinks.direct().iter() {
            if self.write_to(sink, detection, context) == SendResult::NotTaken {
                add(&mut self.tally.unwritten, detection.count);
            }
        }
        if !sinks.network().is_empty() {
            warn_once!("too many detections wait for a network: some will be missing");
            add(&mut self.tally.overflowed, detection.count);
        }
    }

    /// What became of all detections so far.
    pub(crate) fn tally(&self) -> DeliveryTally {
        let mut tally = self.tally;
        for sink in Sink::direct() {
            for queued in self.queue.for_sink(sink) {
                add(&mut tally.unwritten, queued.detection.count);
            }
        }
        tally
    }

    /// The detections that wait, for the journal.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &QueuedDetection> {
        self.queue.iter()
    }

    /// True if nothing waits for a network.
    pub(crate) fn is_sent(&self) -> bool {
        self.queue.iter().all(|queued| queued.sinks.network().is_empty())
    }

    /// True if a sink needs a network.
    pub(crate) fn has_network(&self) -> bool {
        !self.sinks.network().is_empty()
    }

    /// False until SHUTDOWN for a sink that has failed too often, or wants to be left alone now.
    fn may_try(&self, sink: Sink, in_shutdown: bool) -> bool {
        let asks = |(who, until)| sink == who && Instant::now() < until;
        let is_left_alone = || self.left_alone.is_some_and(asks);
        let has_failed = self.failures.get(sink as usize) >= Some(&FAILURES_MAX);
        in_shutdown || !has_failed && !is_left_alone()
    }

    /// Counts a sink's failures in a row.
    fn count_failures(&mut self, sink: Sink, result: SendResult) {
        if let Some(failures) = self.failures.get_mut(sink as usize) {
            *failures = if result == SendResult::Taken { 0 } else { failures.saturating_add(1) };
        }
    }
}
