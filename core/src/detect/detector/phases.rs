//! Tells which inits and restores are attempts of their own, and which are part of an invocation.
//!
//! | Initialization | Phase | Belongs to |
//! |---|---|---|
//! | on demand | `init` | the next invocation to start, also across a restart |
//! | any | `invoke` | the invocation that is open, else the next to start |
//! | provisioned, SnapStart, Managed Instances | `init` | itself |
//! | restore | | itself |

use super::{Detector, Found};
use crate::detect::attempt::{Attempt, RowId};
use crate::detect::detection::Subject;
use crate::scan::event::{InitializationType, Phase, PhaseOutcome};

impl Detector {
    pub(super) fn init_start(
        &mut self,
        kind: InitializationType,
        phase: Phase,
        time_ms: u64,
        found: &mut Found<'_>,
    ) {
        let settings = &mut self.judge.settings;
        if settings.initialization_type == InitializationType::Unknown {
            settings.initialization_type = kind;
        }
        if self.is_managed_instances() {
            self.attempts.expect_concurrency();
        }
        let joins = self.init_joins(kind, phase);
        let invocation = if joins { self.invocation_of_init(phase, time_ms) } else { None };
        let Some(row) = invocation.and_then(|id| self.attempts.row_mut(id)) else {
            return self.phase_start(Subject::Init, joins, time_ms, found);
        };
        row.begin(time_ms);
        if row.must_survive() {
            self.judge.note_change();
        }
    }

    pub(super) fn init_done(
        &mut self,
        outcome: &PhaseOutcome,
        is_report: bool,
        time_ms: u64,
        found: &mut Found<'_>,
    ) {
        let joins = self.init_joins(outcome.initialization_type, outcome.phase);
        let invocation = if joins { self.invocation_of_init(outcome.phase, time_ms) } else { None };
        let Some(row) = invocation.and_then(|id| self.attempts.row_mut(id)) else {
            let row = self.phase_row(Subject::Init, joins, found);
            return self.phase_done(row, outcome, is_report, time_ms);
        };
        // The init's status is not the invocation's: Lambda repeats a failed init.
        row.learn_error(outcome.error_type, time_ms);
        if row.must_survive() {
            self.judge.note_change();
        }
    }

    /// True for an init that is part of the invocation it runs for.
    fn init_joins(&self, initialization_type: InitializationType, phase: Phase) -> bool {
        let known = match initialization_type {
            InitializationType::Unknown => self.judge.settings.initialization_type,
            known => known,
        };
        let on_demand = matches!(known, InitializationType::OnDemand | InitializationType::Unknown);
        on_demand || phase == Phase::Invoke
    }

    /// The invocation that an init belongs to, if its start is known. For phase `invoke`: the one
    /// that was open, else the next to start. For the environment's first init: the next to start,
    /// or the latest if their times crossed.
    fn invocation_of_init(&self, phase: Phase, time_ms: u64) -> Option<RowId> {
        let latest = self.attempts.latest_begun_by(time_ms).filter(|row| row.is_invocation());
        let next = self.attempts.earliest_started_from(time_ms);
        let invocation = if phase == Phase::Invoke {
            latest.filter(|row| row.runs_until(time_ms)).or(next)
        } else {
            next.or(latest)
        };
        invocation.map(|row| row.id)
    }

    /// An init or restore begins. A start at another time is another one.
    pub(super) fn phase_start(
        &mut self,
        subject: Subject,
        joins: bool,
        time_ms: u64,
        found: &mut Found<'_>,
    ) {
        let is_same = |row: &&Attempt| joins || !row.start.is_known() || row.start.is(time_ms);
        let same = self.attempts.latest_of(subject).filter(is_same).map(|row| row.id);
        let id = same.unwrap_or_else(|| self.new_phase(subject, joins, found));
        let Some(row) = self.attempts.row_mut(id) else { return };
        row.start(time_ms);
        if row.must_survive() {
            self.judge.note_change();
        }
    }

    /// The open init or restore. It is made if its start was lost.
    pub(super) fn phase_row(
        &mut self,
        subject: Subject,
        joins: bool,
        found: &mut Found<'_>,
    ) -> RowId {
        let latest = self.attempts.latest_of(subject).map(|row| row.id);
        latest.unwrap_or_else(|| self.new_phase(subject, joins, found))
    }

    fn new_phase(&mut self, subject: Subject, joins: bool, found: &mut Found<'_>) -> RowId {
        let mut attempt = Attempt::new(subject);
        attempt.joins_next_start = joins;
        let placement = self.attempts.insert(attempt);
        self.admit(placement, found)
    }

    pub(super) fn phase_done(
        &mut self,
        id: RowId,
        outcome: &PhaseOutcome,
        is_report: bool,
        time_ms: u64,
    ) {
        let Some(row) = self.attempts.row_mut(id) else {
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
        if row.must_survive() {
            self.judge.note_change();
        }
    }

    /// The invocation `id`, whose start has come, takes over the init that ran for it, so that one
    /// failing call counts once. Their times do not matter: the clock may have been set back
    /// between them.
    pub(super) fn join_init(&mut self, id: RowId) {
        self.take_over(id, |_| true);
    }

    /// The same for an invocation whose start is lost or late.
    pub(super) fn join_init_if_startless(&mut self, id: RowId, time_ms: u64) {
        if self.attempts.row(id).is_some_and(|row| !row.begin.is_known()) {
            self.take_over(id, |init| init.has_begun_by(time_ms));
        }
    }

    fn take_over(&mut self, id: RowId, is_its_init: impl Fn(&Attempt) -> bool) {
        let init = self.attempts.take(|row| row.joins_next_start && is_its_init(row));
        let (Some(init), Some(row)) = (init, self.attempts.row_mut(id)) else {
            return;
        };
        if !init.evidence.is_empty() {
            row.evidence = row.evidence.union(init.evidence);
            row.evidence_ms = init.evidence_ms;
        }
        row.is_counted |= init.is_counted;
        if let Some(begin_ms) = init.begin.get() {
            row.begin(begin_ms);
        }
    }
}
