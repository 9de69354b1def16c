//! What became of the detections, for the agent's last line.

/// What became of the detections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryTally {
    /// Metrics in lines written by `emf`.
    pub(crate) written: u32,
    /// Metrics in lines that stdout has not taken. Those that still wait go out in the next
    /// process.
    pub(crate) unwritten: u32,
    /// Metrics that their sink has taken.
    pub(crate) sent: u32,
    /// Metrics that their sink may have taken, and that are not sent or written again.
    pub(crate) unknown: u32,
    /// Metrics that were refused for good, are too long, or are for a sink that this build does not
    /// have.
    pub(crate) dropped: u32,
    /// Metrics that were left out because too many waited.
    pub(crate) overflowed: u32,
    /// Requests that surely were not taken.
    pub(crate) failed: u32,
}

impl DeliveryTally {
    pub(super) const ZERO: Self = Self {
        written: 0,
        unwritten: 0,
        sent: 0,
        unknown: 0,
        dropped: 0,
        overflowed: 0,
        failed: 0,
    };
}

/// Adds `count` to a counter, which stops at its largest value.
pub(super) const fn add(counter: &mut u32, count: u32) {
    *counter = counter.saturating_add(count);
}
