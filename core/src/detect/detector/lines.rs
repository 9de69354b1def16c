//! Lines with evidence: which attempt each belongs to.
//!
//! | The line | Its attempt |
//! |---|---|
//! | has a request id | the one of this id; while it is unknown, the line is held |
//! | has none, on demand | the latest that had started by then, as soon as that is certain: it ended after the line, or a later start is known; before every start, the open init |
//! | has none, Managed Instances | the first that fails within 10 s after it or 1 s before it |
//! | found none until SHUTDOWN | on demand the latest that had started by then, else the environment |
//! | has none, from the [`Gap`] before a restart | one that is known to have run then, or that failed after it; never one that was kept from before the gap, or that started after it |
//!
//! A kill that only the next process sees is placed like a line from the end of the gap.

use super::{Detector, Found, Gap, add};
use crate::detect::attempt::Attempt;
use crate::scan::event::{LogLine, RequestId};
use crate::scan::evidence::Evidence;

/// A line with evidence that waits for its attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldLine {
    pub(super) request_id: Option<RequestId>,
    pub(super) evidence: Evidence,
    pub(super) time_ms: u64,
    /// It has counted for the environment: the attempt that it is found to belong to has counted.
    pub(super) is_counted: bool,
    /// A kill of which only the next process learned: its time is when that began.
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
    pub(super) fn line(&mut self, line: &LogLine, time_ms: u64, found: &mut Found<'_>) {
        if let LogLine { request_id, evidence: Some(evidence) } = *line {
            let is_new = HeldLine::kill(time_ms);
            self.hold(HeldLine { request_id, evidence, ..is_new }, found);
        }
    }

    /// Keeps evidence until its attempt is certain.
    pub(super) fn hold(&mut self, line: HeldLine, found: &mut Found<'_>) {
        self.must_be_kept();
        if self.held.is_full() {
            let oldest = self.held.remove(0);
            add(&mut self.counters.guessed, 1);
            if !self.place_by_guess(&oldest) {
                self.environment.add_unless_counted(&oldest);
            }
            self.let_go(found);
        }
        let _ = self.held.push(line);
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
                    self.must_be_kept();
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
        if line.is_before_restart {
            return self.failed_before_restart(line.time_ms);
        }
        if let Some(gap) = self.gap_at(line) {
            return self.running_in_gap(gap, line.time_ms);
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

    /// The gap, if nobody can say from what was kept before it which attempt ran at the line's time.
    fn gap_at(&self, line: &HeldLine) -> Option<Gap> {
        self.gap.filter(|gap| gap.from_ms < line.time_ms && line.time_ms <= gap.to_ms)
    }

    /// The attempt that is known to have run at a time in the gap: begun before it and ended after it,
    /// or failed after it.
    fn running_in_gap(&self, gap: Gap, time_ms: u64) -> Option<usize> {
        let ended = |row: &Attempt| {
            row.ended_ms().is_some_and(|end_ms| time_ms <= end_ms && end_ms <= gap.to_ms)
        };
        let rows = &self.attempts;
        let latest = rows.latest_begun_by(time_ms);
        let known = latest.filter(|at| rows.get(*at).is_some_and(ended));
        let startless = || rows.startless_ended_from(time_ms);
        let failed = |row: &Attempt| row.status.is_failed() && ended(row);
        known.or_else(|| startless().filter(|at| rows.get(*at).is_some_and(failed)))
    }

    /// The attempt that failed last before this process began, of those that may have been killed.
    fn failed_before_restart(&self, time_ms: u64) -> Option<usize> {
        let from_ms = self.gap.map_or(0, |gap| gap.from_ms);
        let failed_ms = |row: &Attempt| row.ended_ms().filter(|_| row.status.is_failed());
        let rows = self.attempts.rows().iter().enumerate();
        let rows = rows.filter_map(|(at, row)| failed_ms(row).map(|end_ms| (end_ms, at)));
        rows.filter(|(end_ms, _)| (from_ms..=time_ms).contains(end_ms)).max().map(|(_, at)| at)
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
        let likely = || self.likely_attempt(line).filter(|_| !self.is_managed_instances());
        let at = of_id.or_else(likely);
        let row = at.and_then(|at| self.attempts.get_mut(at));
        row.map(|row| row.add_line(line)).is_some()
    }

    /// On demand: the attempt that was running, else the latest before it, else the next.
    fn likely_attempt(&self, line: &HeldLine) -> Option<usize> {
        let HeldLine { time_ms, is_before_restart, .. } = *line;
        let table = &self.attempts;
        let runs = |at: &usize| table.get(*at).is_some_and(|row| row.runs_until(time_ms));
        let latest = table.latest_begun_by(time_ms);
        let running = latest.filter(runs);
        if is_before_restart {
            return running.filter(|at| table.get(*at).is_some_and(|row| row.is_before_restart));
        }
        let running = running.or_else(|| table.startless_ended_from(time_ms));
        if let Some(gap) = self.gap_at(line) {
            let is_over = |end_ms| end_ms <= gap.to_ms;
            let of_gap = |row: &Attempt| row.ended_ms().is_none_or(is_over);
            return running.filter(|at| table.get(*at).is_some_and(of_gap));
        }
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
