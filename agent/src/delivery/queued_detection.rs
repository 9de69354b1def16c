//! One detection that waits, and the sinks that do not have it yet.

use oom_witness_core::Detection;

use crate::delivery::sink::{Sink, SinkSet};

/// A detection, and the sinks that it still has to reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct QueuedDetection {
    pub(crate) detection: Detection,
    /// The sinks that do not have it yet.
    pub(super) sinks: SinkSet,
    /// The sinks among them to which a delivery has begun.
    pub(super) begun: SinkSet,
}

impl QueuedDetection {
    /// Ends the delivery to `sink`. If it `is_over`, the detection no longer waits for `sink`.
    pub(super) const fn end(&mut self, sink: Sink, is_over: bool) {
        self.begun.remove(sink);
        if is_over {
            self.sinks.remove(sink);
        }
    }

    /// How well two detections can be joined. A larger number means that less is lost: best are two
    /// that differ only in their request ids. `None` if they are of different kinds
    /// or wait for different sinks, or one of them is on its way.
    pub(super) fn likeness(&self, other: &Self) -> Option<u8> {
        let (one, two) = (&self.detection, &other.detection);
        let is_free = self.begun.is_empty() && other.begun.is_empty();
        let has_same_confidence = one.confidence == two.confidence;
        let has_same_evidence = has_same_confidence && one.evidence == two.evidence;
        let is_joined = one.count > 1 || two.count > 1;
        let likeness = u8::from(has_same_confidence) * 4
            + u8::from(has_same_evidence) * 2
            + u8::from(is_joined);
        (is_free && self.sinks == other.sinks && one.kind == two.kind).then_some(likeness)
    }

    /// The queued detection that had these [`QueuedDetection::bits`]. `None` if no sink waits for
    /// it.
    pub(crate) fn restore(detection: Detection, sinks: u8, begun: u8) -> Option<Self> {
        let (sinks, begun) = (SinkSet::from_bits(sinks), SinkSet::from_bits(begun));
        (!sinks.is_empty()).then_some(Self { detection, sinks, begun })
    }

    /// The two sets, for the journal.
    pub(crate) const fn bits(&self) -> [u8; 2] {
        [self.sinks.to_bits(), self.begun.to_bits()]
    }
}
