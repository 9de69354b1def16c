//! Lines with evidence: which attempt each belongs to.
//!
//! | The line | Its attempt |
//! |---|---|
//! | has a request id | the one of this id; while it is unknown, the line is held |
//! | has none, on demand | the latest that had started by then, as soon as that is certain: it ended after the line, or a later start is known; before every start, the open init |
//! | has none, Managed Instances | the first that fails within 10 s after it or 1 s before it |
//! | found none until SHUTDOWN | on demand the latest that had started by then, else the environment |

use super::{Detector, Found, add};
use crate::attempt::Attempt;
use crate::event::{LogLine, RequestId};
use crate::evidence::Evidence;

/// A line with evidence that waits for its attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldLine {
    pub(super) request_id: Option<RequestId>,
    pub(super) evidence: Evidence,
    pub(super) time_ms: u64,
    /// It has counted for the environment: the attempt that it is found to belong to has counted.
    pub(super) is_counted: bool,
}

impl Detector {
    pub(super) fn line(&mut self, line: &LogLine, time_ms: u64, found: &mut Found<'_>) {
        if let Some(evidence) = line.evidence {
            self.hold(line.request_id, evidence, time_ms, found);
        }
    }

    /// Keeps evidence until its attempt is certain.
    pub(super) fn hold(
        &mut self,
        id: Option<RequestId>,
        evidence: Evidence,
        time_ms: u64,
        found: &mut Found<'_>,
    ) {
        let held = HeldLine { request_id: id, evidence, time_ms, is_counted: false };
        if self.held.is_full() {
            let oldest = self.held.remove(0);
            add(&mut self.counters.guessed, 1);
            if !self.place_by_guess(&oldest) {
                self.homeless.add_unless_counted(&oldest);
            }
            self.let_go(found);
        }
        let _ = self.held.push(held);
    }

    /// Places the held lines whose attempt has become certain.
    pub(super) fn place_held(&mut self, found: &mut Found<'_>) {
        self.let_go(found);
        let mut index = 0;
        while let Some(line) = self.held.get(index).copied() {
            let at = self.certain_attempt(&line);
            match at.and_then(|at| self.attempts.get_mut(at)) {
                Some(row) => {
                    row.add_line(&line);
                    self.held.remove(index);
                }
                None => index = index.saturating_add(1),
            }
            // Looking for an attempt may have brought one back into a full table.
            self.let_go(found);
        }
    }

    /// The attempt that a line belongs to, if no later event can change that.
    fn certain_attempt(&mut self, line: &HeldLine) -> Option<usize> {
        if let Some(id) = &line.request_id {
            let at = self.attempts.of_id(id, line.time_ms)?;
            // A retry with the same id may be still to come.
            let is_certain = self.is_managed_instances()
                || self.attempts.get(at)?.runs_until(line.time_ms)
                || self.attempts.has_begun_after(line.time_ms);
            return is_certain.then_some(at);
        }
        if self.is_managed_instances() {
            return self.failed_near(line.time_ms);
        }
        let at = self.attempts.latest_begun_by(line.time_ms)?;
        let row = self.attempts.get(at)?;
        if line.is_counted || row.joins_next_start {
            // Rather miss a count than count a line a second time.
            return Some(at);
        }
        // One whose start is still to come may have begun in between.
        let is_certain = self.attempts.startless_ended_from(line.time_ms).is_none()
            && (row.ended_ms().is_some_and(|end_ms| end_ms >= line.time_ms)
                || self.attempts.has_begun_after(line.time_ms));
        is_certain.then_some(at)
    }

    /// Managed Instances: the first attempt whose failure lies near a line's time.
    fn failed_near(&self, time_ms: u64) -> Option<usize> {
        let window = time_ms.saturating_sub(1_000)..=time_ms.saturating_add(10_000);
        let failed_ms = |row: &Attempt| row.ended_ms().filter(|_| row.status.is_failed());
        let rows = self.attempts.rows().iter().enumerate();
        let rows = rows.filter_map(|(at, row)| failed_ms(row).map(|end_ms| (end_ms, at)));
        rows.filter(|(end_ms, _)| window.contains(end_ms)).min().map(|(_, at)| at)
    }

    /// Places a line although a later event could change where it belongs. False if there is no
    /// attempt that it could belong to.
    pub(super) fn place_by_guess(&mut self, line: &HeldLine) -> bool {
        let of_id = line.request_id.and_then(|id| self.attempts.of_id(&id, line.time_ms));
        let likely = || self.likely_attempt(line.time_ms).filter(|_| !self.is_managed_instances());
        let at = of_id.or_else(likely);
        let row = at.and_then(|at| self.attempts.get_mut(at));
        row.map(|row| row.add_line(line)).is_some()
    }

    /// On demand: the attempt that was running, else the latest before it, else the next.
    fn likely_attempt(&self, time_ms: u64) -> Option<usize> {
        let table = &self.attempts;
        let runs = |at: &usize| table.get(*at).is_some_and(|row| row.runs_until(time_ms));
        let latest = table.latest_begun_by(time_ms);
        let running = latest.filter(runs).or_else(|| table.startless_ended_from(time_ms));
        running.or(latest).or_else(|| table.earliest_started_from(time_ms))
    }
}

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
