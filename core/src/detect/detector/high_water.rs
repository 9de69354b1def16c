//! The high-water mark of an environment's memory: whether a report near or at the limit is new.
//!
//! `maxMemoryUsedMB` is the maximum across all invocations of one environment, so after one touch
//! of the limit each later report repeats it
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logs.html>). A kill or
//! a timeout resets the environment, and the mark begins again.

use crate::detect::snapshot::{Decoder, Encoder};
use crate::scan::event::Status;
use crate::time::EventTime;

/// When successful invocations reported a mark at two levels, and when the environment was last
/// reset.
///
/// Reports may come late, so each is compared only with those on its own side of the reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct HighWaterMark {
    /// Reports at the limit.
    limit: Reports,
    /// Reports at the share of the limit that is set.
    near: Reports,
    reset_ms: u64,
}

/// The times of the earliest and the latest report of a mark.
#[derive(Clone, Copy, Debug)]
struct Reports {
    first: EventTime,
    last: EventTime,
}

impl Reports {
    const NONE: Self = Self { first: EventTime::NONE, last: EventTime::NONE };

    /// Takes a report. True if it is the first on its side of the last reset.
    fn add(&mut self, time_ms: u64, reset_ms: u64) -> bool {
        let is_known = if time_ms < reset_ms {
            self.first.get().is_some_and(|first_ms| first_ms < reset_ms)
        } else {
            self.last.get().is_some_and(|last_ms| last_ms >= reset_ms)
        };
        let first_ms = self.first.get().map_or(time_ms, |first_ms| first_ms.min(time_ms));
        let last_ms = self.last.get().map_or(time_ms, |last_ms| last_ms.max(time_ms));
        (self.first, self.last) = (Some(first_ms).into(), Some(last_ms).into());
        !is_known
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.time(self.first);
        encoder.time(self.last);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { first: decoder.time()?, last: decoder.time()? })
    }
}

impl HighWaterMark {
    /// A new environment.
    pub(super) const fn new() -> Self {
        Self { limit: Reports::NONE, near: Reports::NONE, reset_ms: 0 }
    }

    /// Takes a report at the limit. True if it is the first on its side of the last reset.
    pub(super) fn rise(&mut self, time_ms: u64) -> bool {
        self.limit.add(time_ms, self.reset_ms)
    }

    /// The same for a report near the limit.
    pub(super) fn rise_near(&mut self, time_ms: u64) -> bool {
        self.near.add(time_ms, self.reset_ms)
    }

    /// The environment was reset at this time. True if that makes a difference.
    pub(super) fn reset(&mut self, time_ms: u64) -> bool {
        let is_later = time_ms > self.reset_ms;
        self.reset_ms = self.reset_ms.max(time_ms);
        is_later && (self.limit.first.is_known() || self.near.first.is_known())
    }

    /// An event at this time says how an invocation ended. A failure reset the environment then.
    ///
    /// Only the status of the event matters, not that of its attempt: an attempt that failed long
    /// ago without a report may get the report of its successful retry.
    pub(super) fn reset_if_failed(&mut self, status: Status, time_ms: u64) {
        if status.is_failed() {
            self.reset(time_ms);
        }
    }

    pub(super) fn encode(&self, encoder: &mut Encoder<'_>) {
        self.limit.encode(encoder);
        self.near.encode(encoder);
        encoder.word(self.reset_ms);
    }

    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Option<Self> {
        let (limit, near) = (Reports::decode(decoder)?, Reports::decode(decoder)?);
        Some(Self { limit, near, reset_ms: decoder.word()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_report_at_the_limit_is_new() {
        let mut mark = HighWaterMark::new();
        assert!(mark.rise(100));
        assert!(!mark.rise(200) && !mark.rise(50));
        assert!(mark.reset(300));
        assert!(!mark.rise(250), "late, from before the reset");
        assert!(mark.rise(400) && !mark.rise(500));
        assert!(!mark.reset(300), "the same reset again");
        assert!(!mark.rise(600));
    }

    #[test]
    fn a_late_report_from_before_the_reset_may_be_the_first_of_its_time() {
        let mut mark = HighWaterMark::new();
        assert!(!mark.reset(300), "nothing to forget");
        assert!(mark.rise(250) && mark.rise(400));
        assert!(!mark.rise(260) && !mark.rise(410));
    }

    #[test]
    fn both_levels_rise_on_their_own_and_are_reset_together() {
        let mut mark = HighWaterMark::new();
        assert!(mark.rise_near(100) && !mark.rise_near(200) && mark.rise(200));
        assert!(mark.reset(300));
        assert!(mark.rise_near(400) && mark.rise(400));
        assert!(!mark.rise_near(250) && !mark.rise(250));
    }
}
