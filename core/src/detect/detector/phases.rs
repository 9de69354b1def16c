//! Decides which inits and restores are separate attempts, and which are part of an invocation.
//!
//! | Initialization | Phase | Belongs to |
//! |---|---|---|
//! | on demand | `init` | the next invocation to start, also across a restart |
//! | any | `invoke` | the invocation that is open, else the next to start |
//! | provisioned, SnapStart, Managed Instances | `init` | itself |
//! | restore | | itself |

use super::{Detector, OnDetection};
use crate::detect::attempt::{Attempt, RowId};
use crate::detect::detection::Subject;
use crate::scan::event::{InitializationType, Phase, PhaseOutcome};
use crate::scan::runtime::Runtime;

impl Detector {
    pub(super) fn init_start(
        &mut self,
        kind: InitializationType,
        phase: Phase,
        time_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let settings = &mut self.judge.settings;
        if settings.initialization_type == InitializationType::Unknown {
            settings.initialization_type = kind;
        }
        if self.is_managed_instances() {
            self.attempts.expect_concurrency();
        }
        let is_part = self.is_part_of_invocation(kind, phase);
        let invocation = if is_part { self.invocation_of_init(phase, time_ms) } else { None };
        let Some(row) = invocation.and_then(|id| self.attempts.row_mut(id)) else {
            return self.phase_start(Subject::Init, is_part, time_ms, emit);
        };
        row.begin(time_ms);
        row.follow(Some(time_ms));
        self.judge.note_change_of(row);
    }

    /// The runtime stays the same as long as the environment lives.
    pub(super) fn learn_runtime(&mut self, runtime: Runtime) {
        if runtime.is_known() && runtime != self.runtime {
            self.runtime = runtime;
            self.judge.note_change();
        }
    }

    pub(super) fn init_done(
        &mut self,
        outcome: &PhaseOutcome,
        is_report: bool,
        time_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let is_part = self.is_part_of_invocation(outcome.initialization_type, outcome.phase);
        let invocation =
            if is_part { self.invocation_of_init(outcome.phase, time_ms) } else { None };
        let Some(row) = invocation.and_then(|id| self.attempts.row_mut(id)) else {
            return self.phase_done(Subject::Init, is_part, outcome, is_report, time_ms, emit);
        };
        // The init's status is not the invocation's: Lambda repeats a failed init.
        row.learn_error(outcome.error_type, time_ms);
        self.judge.note_change_of(row);
    }

    /// True for an init that is part of the invocation it runs for.
    fn is_part_of_invocation(&self, initialization_type: InitializationType, phase: Phase) -> bool {
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
        joins_next_start: bool,
        time_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let is_same =
            |row: &Attempt| joins_next_start || !row.start.is_known() || row.start.is(time_ms);
        let placement = self.attempts.place_phase(subject, joins_next_start, is_same);
        if let Some(row) = self.attempts.admit(placement, self.judge.judge_last(emit)) {
            row.start(time_ms);
            self.judge.note_change_of(row);
        }
    }

    /// The open init or restore ends. It is made if its start was lost.
    pub(super) fn phase_done(
        &mut self,
        subject: Subject,
        joins_next_start: bool,
        outcome: &PhaseOutcome,
        is_report: bool,
        time_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let placement = self.attempts.place_phase(subject, joins_next_start, |_| true);
        let row = self.attempts.admit(placement, self.judge.judge_last(emit));
        let Some(row) = row else { return };
        row.learn(outcome.status);
        row.learn_error(outcome.error_type, time_ms);
        // An init that joins an invocation stays open until the invocation starts.
        if is_report && !row.joins_next_start {
            row.report.learn(time_ms);
            row.is_settled = true;
        } else if !row.joins_next_start {
            row.end.learn(time_ms);
        }
        self.judge.note_change_of(row);
    }
}
