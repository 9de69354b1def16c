//! The detections that wait, in a table of fixed size.
//!
//! In: detections with their sinks, and what became of each delivery. Out: the detections that
//! still have to reach a sink. When the table is full, two detections that are alike become one
//! with their sum. So the total is always right, and only request ids are lost.

use crate::delivery::queued_detection::QueuedDetection;
use crate::delivery::sink::Sink;
use crate::delivery::tally::add;

/// Detections that wait at once, each with its request id. Further ones are joined. Lambda shuts an
/// environment down at once when it runs out of memory, so more than a few mean a dead network.
pub(crate) const WAITING_MAX: usize = 24;

/// The detections that wait, in the order in which they came.
pub(super) struct DetectionQueue(heapless::Vec<QueuedDetection, WAITING_MAX>);

impl DetectionQueue {
    pub(super) const fn new() -> Self {
        Self(heapless::Vec::new())
    }

    /// Appends a detection. False if the table is full.
    pub(super) fn push(&mut self, queued: QueuedDetection) -> bool {
        self.0.push(queued).is_ok()
    }

    /// Appends a detection. If the table is full, joins two others first. False if no two can be
    /// joined.
    pub(super) fn push_or_join(&mut self, queued: QueuedDetection) -> bool {
        (!self.0.is_full() || self.join_two()) && self.push(queued)
    }

    /// Joins the two waiting detections that are most alike. False if no two can be joined.
    fn join_two(&mut self) -> bool {
        let mut best = None;
        for (index, one) in self.0.iter().enumerate() {
            let others = self.0.iter().enumerate().skip(index + 1);
            for (other_index, other) in others {
                best = best.max(one.likeness(other).map(|likeness| (likeness, index, other_index)));
            }
        }
        let Some((_, index, other_index)) = best else { return false };
        let other = self.0.remove(other_index);
        if let Some(one) = self.0.get_mut(index) {
            one.detection = one.detection.join(&other.detection);
        }
        true
    }

    /// The detection at this place, if there is one.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut QueuedDetection> {
        self.0.get_mut(index)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedDetection> {
        self.0.iter()
    }

    /// The detections that wait for `sink`.
    pub(super) fn for_sink(&self, sink: Sink) -> impl Iterator<Item = &QueuedDetection> {
        self.0.iter().filter(move |queued| queued.sinks.contains(sink))
    }

    /// The detections whose delivery to `sink` has begun.
    pub(super) fn begun(&self, sink: Sink) -> impl Iterator<Item = &QueuedDetection> {
        self.0.iter().filter(move |queued| queued.begun.contains(sink))
    }

    /// Marks the first `count` detections that wait for `sink` as begun. True if there are any.
    pub(super) fn begin(&mut self, sink: Sink, count: usize) -> bool {
        let wait = self.0.iter_mut().filter(|queued| queued.sinks.contains(sink));
        wait.take(count).map(|queued| queued.begun.insert(sink)).count() > 0
    }

    /// Ends the deliveries to `sink` that had begun. If this `is_over`, their detections no longer
    /// wait for `sink`. Returns how many metrics they are.
    pub(super) fn end(&mut self, sink: Sink, is_over: bool) -> u32 {
        let mut total = 0;
        for queued in self.0.iter_mut().filter(|queued| queued.begun.contains(sink)) {
            add(&mut total, queued.detection.count);
            queued.end(sink, is_over);
        }
        self.sweep();
        total
    }

    /// Removes the detections that every sink has.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|queued| !queued.sinks.is_empty());
    }
}
