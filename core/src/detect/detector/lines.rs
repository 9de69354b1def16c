//! Decides which attempt a line with evidence belongs to.
//!
//! | The line | Its attempt |
//! |---|---|
//! | has a request id | the one with this id; until that is known, the line is held |
//! | has none, on demand | the latest that had started by then, as soon as that is certain: it ended after the line, or a later start is known; before every start, the open init |
//! | has none, Managed Instances | the first that fails within 10 s after it or 1 s before it |
//! | found none until SHUTDOWN | on demand the latest that had started by then, else the environment |
//! | has none, from the [`Gap`] before a restart | one that is known to have run then, or that failed after it; never one that was kept from before the gap, or that started after it |
//!
//! A kill that only the next process sees is placed like a line from the end of the gap.

use core::ops::RangeInclusive;

use super::{Detector, Gap, OnDetection, add};
use crate::detect::attempt::{Attempt, RowId};
use crate::scan::event::{LogLine, RequestId};
use crate::scan::evidence::Evidence;

/// A line with evidence that waits for its attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldLine {
    pub(super) request_id: Option<RequestId>,
    pub(super) evidence: Evidence,
    pub(super) time_ms: u64,
    /// It has counted for the environment. When its attempt is found, that attempt has counted.
    pub(super) is_counted: bool,
    /// It is a kill that only the next process noticed. Its time is when that process began.
    pub(super) is_before_restart: bool,
}

impl HeldLine {
    /// The kernel killed a process.
    pub(super) const fn kill(time_ms: u64) -> Self {
        Self {
            request_id: None,
            evidence: Evidence::KernelKill,
            time_ms,
            is_counted: false,
            is_before_restart: false,
        }
    }
}

impl Detector {
    pub(super) fn line(&mut self, line: &LogLine, time_ms: u64, emit: &mut OnDetection<'_>) {
        if let LogLine { request_id, evidence: Some(evidence) } = *line {
            let is_new = HeldLine::kill(time_ms);
            self.hold(HeldLine { request_id, evidence, ..is_new }, emit);
        }
    }

    /// Keeps evidence until its attempt is certain.
    pub(super) fn hold(&mut self, line: HeldLine, emit: &mut OnDetection<'_>) {
        self.judge.note_change();
        if self.held.is_full() {
            let oldest = self.held.remove(0);
            add(&mut self.judge.counters.guessed, 1);
            if !self.place_by_guess(&oldest, emit) {
                self.environment.add_unless_counted(&oldest);
            }
        }
        let _ = self.held.push(line);
    }

    /// Assigns the held lines whose attempt has become certain.
    pub(super) fn place_held(&mut self, emit: &mut OnDetection<'_>) {
        let mut index = 0;
        while let Some(line) = self.held.get(index).copied() {
            let id = self.certain_attempt(&line, emit);
            match id.and_then(|id| self.attempts.row_mut(id)) {
                Some(row) => {
                    row.add_line(&line);
                    self.held.remove(index);
                    self.judge.note_change();
                }
                None => index = index.saturating_add(1),
            }
        }
    }

    /// The attempt that a line belongs to, if no later event can change that.
    fn certain_attempt(&mut self, line: &HeldLine, emit: &mut OnDetection<'_>) -> Option<RowId> {
        if let Some(id) = &line.request_id {
            let placement = self.attempts.place_line(id, line.time_ms)?;
            let row = self.attempts.admit(placement, self.judge.judge_last(emit))?;
            let (id, may_run) = (row.id, row.runs_until(line.time_ms));
            // A retry with the same id may still come.
            let is_certain = self.is_managed_instances()
                || may_run
                || self.attempts.has_begun_after(line.time_ms);
            return is_certain.then_some(id);
        }
        if self.is_managed_instances() {
            return self.failed_near(line.time_ms);
        }
        if line.is_before_restart {
            return self.failed_before_restart(line.time_ms);
        }
        if let Some(gap) = self.gap_at(line) {
            return self.running_in_gap(gap, line.time_ms);
        }
        let row = self.attempts.latest_begun_by(line.time_ms)?;
        if line.is_counted || row.joins_next_start {
            // Missing a count is better than counting a line twice.
            return Some(row.id);
        }
        // An attempt whose start has not come yet may have begun in between.
        let is_certain = self.attempts.startless_ended_from(line.time_ms).is_none()
            && (row.ended_ms().is_some_and(|end_ms| end_ms >= line.time_ms)
                || self.attempts.has_begun_after(line.time_ms));
        is_certain.then_some(row.id)
    }

    /// The gap, if the line falls into it. Then no kept event shows which attempt ran.
    fn gap_at(&self, line: &HeldLine) -> Option<Gap> {
        self.gap.filter(|gap| gap.from_ms < line.time_ms && line.time_ms <= gap.to_ms)
    }

    /// The attempt that is known to have run at a time in the gap: it began before that time, and
    /// ended or failed after it.
    fn running_in_gap(&self, gap: Gap, time_ms: u64) -> Option<RowId> {
        let has_ended = |row: &&Attempt| {
            row.ended_ms().is_some_and(|end_ms| time_ms <= end_ms && end_ms <= gap.to_ms)
        };
        let has_failed = |row: &&Attempt| row.status.is_failed() && has_ended(row);
        let known = self.attempts.latest_begun_by(time_ms).filter(has_ended);
        let startless = || self.attempts.startless_ended_from(time_ms).filter(has_failed);
        known.or_else(startless).map(|row| row.id)
    }

    /// The attempt that failed last before this process began, of those that may have been killed.
    fn failed_before_restart(&self, time_ms: u64) -> Option<RowId> {
        let from_ms = self.gap.map_or(0, |gap| gap.from_ms);
        let failed = self.failed_within(from_ms..=time_ms);
        failed.max_by_key(|(end_ms, _)| *end_ms).map(|(_, row)| row.id)
    }

    /// Managed Instances: the first attempt whose failure lies near a line's time.
    fn failed_near(&self, time_ms: u64) -> Option<RowId> {
        let window = time_ms.saturating_sub(FAILURE_BEFORE_LINE_MS)
            ..=time_ms.saturating_add(FAILURE_AFTER_LINE_MS);
        let failed = self.failed_within(window);
        failed.min_by_key(|(end_ms, _)| *end_ms).map(|(_, row)| row.id)
    }

    /// The attempts that failed within a window, each with the time of its end.
    fn failed_within(&self, window: RangeInclusive<u64>) -> impl Iterator<Item = (u64, &Attempt)> {
        let failed = self.attempts.rows().iter().filter(|row| row.status.is_failed());
        failed
            .filter_map(|row| Some((row.ended_ms()?, row)))
            .filter(move |(end_ms, _)| window.contains(end_ms))
    }

    /// Assigns a line although a later event could change its attempt. False if it can belong to no
    /// attempt.
    pub(super) fn place_by_guess(&mut self, line: &HeldLine, emit: &mut OnDetection<'_>) -> bool {
        let placement = line.request_id.and_then(|id| self.attempts.place_line(&id, line.time_ms));
        let row = if let Some(placement) = placement {
            self.attempts.admit(placement, self.judge.judge_last(emit))
        } else if self.is_managed_instances() {
            None
        } else {
            self.likely_attempt(line).and_then(|id| self.attempts.row_mut(id))
        };
        row.map(|row| row.add_line(line)).is_some()
    }

    /// On demand: the attempt that was running, else the latest before it, else the next.
    fn likely_attempt(&self, line: &HeldLine) -> Option<RowId> {
        let HeldLine { time_ms, is_before_restart, .. } = *line;
        let latest = self.attempts.latest_begun_by(time_ms);
        let running = latest.filter(|row| row.runs_until(time_ms));
        if is_before_restart {
            return running.filter(|row| row.is_before_restart).map(|row| row.id);
        }
        let running = running.or_else(|| self.attempts.startless_ended_from(time_ms));
        let likely = if let Some(gap) = self.gap_at(line) {
            let is_over = |end_ms| end_ms <= gap.to_ms;
            running.filter(|row| row.ended_ms().is_none_or(is_over))
        } else {
            running.or(latest).or_else(|| self.attempts.earliest_started_from(time_ms))
        };
        likely.map(|row| row.id)
    }
}

/// Managed Instances: a line belongs to a failure that comes at most this long after it.
const FAILURE_AFTER_LINE_MS: u64 = 10_000;

/// Managed Instances: a line belongs to a failure that came at most this long before it.
const FAILURE_BEFORE_LINE_MS: u64 = 1_000;

impl Attempt {
    fn add_line(&mut self, line: &HeldLine) {
        self.add_evidence(line.evidence, line.time_ms);
        self.is_counted |= line.is_counted;
    }

    pub(super) fn add_unless_counted(&mut self, line: &HeldLine) {
        if !line.is_counted {
            self.add_evidence(line.evidence, line.time_ms);
        }
    }
}
