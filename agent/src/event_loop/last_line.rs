//! The agent's last log line: what it counted.

use log::info;

use super::EventLoop;
use crate::delivery::tally::DeliveryTally;

impl EventLoop<'_> {
    // A frame of its own, apart from the loop's.
    #[cold]
    #[inline(never)]
    pub(super) fn log_last_line(&self) {
        let found = self.detector.counters();
        let DeliveryTally { written, unwritten, sent, unknown, dropped, overflowed, failed } =
            self.outbox.tally();
        let skipped = self.telemetry.skipped();
        // Each name is spelled out, as the layer's build removes what `{:?}` would derive.
        info!(
            "ends: Counters {{ detections: {}, evicted: {}, guessed: {}, logs_dropped: {}, \
             extensions_crashed: {} }}, Tally {{ written: {written}, unwritten: {unwritten}, \
             sent: {sent}, unknown: {unknown}, dropped: {dropped}, overflowed: {overflowed}, \
             failed: {failed} }}, Skipped {{ unknown: {}, malformed: {}, resynchronised: {}, \
             distrusted: {} }}, connections given up: {}, requests not Lambda's: {}",
            found.detections,
            found.evicted,
            found.guessed,
            found.logs_dropped,
            found.extensions_crashed,
            skipped.unknown,
            skipped.malformed,
            skipped.resynchronised,
            skipped.distrusted,
            self.telemetry.evicted,
            self.telemetry.foreign_requests
        );
    }
}
