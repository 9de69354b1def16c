//! Inits and restores: which of them are attempts of their own, and which are part of an
//! invocation.
//!
//! | Initialization | Phase | Belongs to |
//! |---|---|---|
//! | on demand | `init` | the next invocation to start, also across a restart |
//! | any | `invoke` | the invocation that is open, else the next to start |
//! | provisioned, SnapStart, Managed Instances | `init` | itself |
//! | restore | | itself |

use super::Detector;
use crate::detect::attempt::Attempt;
use crate::detect::detection::Subject;
use crate::scan::event::{InitializationType, Phase, PhaseOutcome};

impl Detector {
    pub(super) fn init_start(&mut self, kind: InitializationType, phase: Phase, time_ms: u64) {
        if self.settings.initialization_type == InitializationType::Unknown {
            self.settings.initialization_type = kind;
        }
        if self.is_managed_instances() {
            self.attempts.expect_concurrency();
        }
        let joins = self.init_joins(kind, phase);
        let invocation = if joins { self.invocation_of_init(phase, time_ms) } else { None };
        match invocation.and_then(|at| self.attempts.get_mut(at)) {
            Some(row) => row.begin(time_ms),
            None => return self.phase_start(Subject::Init, joins, time_ms),
        }
        invocation.into_iter().for_each(|at| self.note_change(at));
    }

    pub(super) fn init_done(&mut self, outcome: &PhaseOutcome, is_report: bool, time_ms: u64) {
        let joins = self.init_joins(outcome.initialization_type, outcome.phase);
        let invocation = if joins { self.invocation_of_init(outcome.phase, time_ms) } else { None };
        if let Some(at) = invocation {
            // The init's status is not the invocation's: Lambda repeats a failed init.
            if let Some(row) = self.attempts.get_mut(at) {
                row.learn_error(outcome.error_type, time_ms);
            }
            return self.note_change(at);
        }
        let at = self.phase_row(Subject::Init, joins);
        self.phase_done(at, outcome, is_report, time_ms);
    }

    /// True for an init that is part of the invocation it runs for.
    fn init_joins(&self, initialization_type: InitializationType, phase: Phase) -> bool {
        let known = match initialization_type {
            InitializationType::Unknown => self.settings.initialization_type,
            known => known,
        };
        let on_demand = matches!(known, InitializationType::OnDemand | InitializationType::Unknown);
        on_demand || phase == Phase::Invoke
    }

    /// The invocation that an init belongs to, if its start is known: for phase `invoke` the one
    /// that was open, else the next to start; for the environment's first init the next to start,
    /// or the latest if their times crossed.
    fn invocation_of_init(&self, phase: Phase, time_ms: u64) -> Option<usize> {
        let is_invocation = |at: &usize| self.attempts.get(*at).is_some_and(Attempt::is_invocation);
        let latest = self.attempts.latest_begun_by(time_ms).filter(is_invocation);
        let next = self.attempts.earliest_started_from(time_ms);
        if phase != Phase::Invoke {
            return next.or(latest);
        }
        let open =
            latest.filter(|at| self.attempts.get(*at).is_some_and(|row| row.runs_until(time_ms)));
        open.or(next)
    }

    /// An init or restore begins. A start at another time is another one.
    pub(super) fn phase_start(&mut self, subject: Subject, joins: bool, time_ms: u64) {
        let is_same = |row: &Attempt| joins || !row.start.is_known() || row.start.is(time_ms);
        let latest = self.attempts.latest_of(subject);
        let same = latest.filter(|at| self.attempts.get(*at).is_some_and(is_same));
        let at = same.unwrap_or_else(|| self.new_phase(subject, joins));
        if let Some(row) = self.attempts.get_mut(at) {
            row.start(time_ms);
        }
        self.note_change(at);
    }

    /// The open init or restore; if its start was lost, it is made.
    pub(super) fn phase_row(&mut self, subject: Subject, joins: bool) -> usize {
        self.attempts.latest_of(subject).unwrap_or_else(|| self.new_phase(subject, joins))
    }

    fn new_phase(&mut self, subject: Subject, joins: bool) -> usize {
        let mut attempt = Attempt::new(subject);
        attempt.joins_next_start = joins;
        self.attempts.insert(attempt)
    }

    pub(super) fn phase_done(
        &mut self,
        at: usize,
        outcome: &PhaseOutcome,
        is_report: bool,
        time_ms: u64,
    ) {
        let Some(row) = self.attempts.get_mut(at) else {
            return;
        };
        row.learn(outcome.status);
        row.learn_error(outcome.error_type, time_ms);
        // One that joins an invocation stays open until that starts.
        if is_report && !row.joins_next_start {
            row.report.learn(time_ms);
            row.is_settled = true;
        } else if !row.joins_next_start {
            row.end.learn(time_ms);
        }
        self.note_change(at);
    }

    /// The invocation at `at`, whose start has come, takes over the init that ran for it: one failing
    /// call, one count. Whatever their times: the clock may have been set back between them.
    pub(super) fn join_init(&mut self, at: usize) -> usize {
        self.take_over(at, |_| true)
    }

    /// The same for an invocation whose start is lost or late.
    pub(super) fn join_init_if_startless(&mut self, at: usize, time_ms: u64) -> usize {
        match self.attempts.get(at) {
            Some(row) if !row.begin.is_known() => {
                self.take_over(at, |init| init.has_begun_by(time_ms))
            }
            _ => at,
        }
    }

    /// Gives the invocation's position after that.
    fn take_over(&mut self, at: usize, is_its: impl Fn(&Attempt) -> bool) -> usize {
        let joins = |row: &Attempt| row.joins_next_start && is_its(row);
        let Some(init_at) = self.attempts.rows().iter().position(joins) else {
            return at;
        };
        let init = self.attempts.get(init_at).copied();
        let (Some(init), Some(row)) = (init, self.attempts.get_mut(at)) else {
            return at;
        };
        if !init.evidence.is_empty() {
            row.evidence = row.evidence.union(init.evidence);
            row.evidence_ms = init.evidence_ms;
        }
        row.is_counted |= init.is_counted;
        if let Some(begin_ms) = init.begin.get() {
            row.begin(begin_ms);
        }
        self.attempts.remove(init_at);
        at.saturating_sub(usize::from(init_at < at))
    }
}
