//! Decides which attempts ran out of memory: all policy, nothing else.
//!
//! In: events, in whatever order, batch and repetition Lambda delivers them, and the time. Out: at
//! most one [`Detection`] for each attempt. No clock, no I/O, no JSON: same events, same detections.
//!
//! What evidence means is the table in `verdict`, where a line belongs the table in `lines`.
//!
//! What is confirmed counts at once. What is suspected counts when the report has come, at
//! SHUTDOWN, or on demand at the next start; what comes later counts then, if nothing did before.

mod lines;
mod phases;
mod verdict;

use self::lines::HeldLine;
use crate::attempt::Attempt;
use crate::attempt_table::AttemptTable;
use crate::detection::{Detection, Subject};
use crate::event::{ErrorType, Event, EventKind, InitializationType, Report, RequestId, Status};
use crate::evidence::{Evidence, EvidenceSet};
use crate::extensions::ShutdownReason;
use crate::limits::{HELD_LINES_MAX, SNAPSHOT_SIZE};
use crate::snapshot::{Decoder, Encoder, is_sealed, seal};

/// Gathers evidence on attempts and tells, once for each, which ran out of memory.
///
/// At most 16 KiB, whatever it observes. The last 6 KiB of it are rows that stay untouched as long as
/// invocations come one after the other.
// In this order: what is used lies side by side.
#[repr(C)]
pub struct Detector {
    settings: Settings,
    held: heapless::Vec<HeldLine, HELD_LINES_MAX>,
    /// Kinds of suspected evidence that have counted on a success ([`Suspected::Once`]).
    used: EvidenceSet,
    /// Evidence that no attempt was found for.
    homeless: Attempt,
    counters: Counters,
    attempts: AttemptTable,
}

/// What the detector cannot learn from events.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// What to do with detections that are only suspected.
    pub suspected: Suspected,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`; where unknown, `platform.initStart` tells it.
    pub initialization_type: InitializationType,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, for reports without `memorySizeMB`.
    pub memory_size_mb: Option<u32>,
}

/// What to do with detections that are only suspected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Suspected {
    /// Count them, attempt by attempt.
    #[default]
    Count,
    /// Leave them out.
    Ignore,
    /// Count each kind of evidence on successful attempts once: an environment that has touched
    /// its limit may say so in every later report.
    Once,
}

/// What a detector has done and had to leave out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Detections made.
    pub detections: u32,
    /// Attempts that left a full table, or that a snapshot had no room for, in this process and in
    /// those that it went on from.
    pub evicted: u32,
    /// Lines placed by guess because too many were held.
    pub guessed: u32,
    /// Records that Lambda said it threw away.
    pub logs_dropped: u32,
    /// Extensions that Lambda said had crashed.
    pub extensions_crashed: u32,
}

/// Where detections go.
type Found<'a> = dyn FnMut(&Detection) + 'a;

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        let mut attempts = AttemptTable::new();
        if matches!(settings.initialization_type, InitializationType::ManagedInstances) {
            attempts.expect_concurrency();
        }
        Self {
            settings,
            attempts,
            held: heapless::Vec::new(),
            used: EvidenceSet::EMPTY,
            homeless: Attempt::new(Subject::Environment),
            counters: Counters {
                detections: 0,
                evicted: 0,
                guessed: 0,
                logs_dropped: 0,
                extensions_crashed: 0,
            },
        }
    }

    /// Takes the next event. `now_ms` (milliseconds since the epoch) stands in for a missing time.
    /// Costs a few passes over the table.
    pub fn observe(&mut self, event: &Event, now_ms: u64, found: &mut Found<'_>) {
        let time_ms = event.time_ms.unwrap_or(now_ms);
        match &event.kind {
            EventKind::Start { request_id } => self.start(*request_id, time_ms),
            EventKind::RuntimeDone { request_id, status, error_type } => {
                self.runtime_done(*request_id, *status, *error_type, event.time_ms, now_ms);
            }
            EventKind::Report(report) => self.report(report, event.time_ms, now_ms),
            EventKind::Function(line) | EventKind::Fault(line) => {
                self.line(line, time_ms, found);
            }
            EventKind::InitStart { initialization_type, phase } => {
                self.init_start(*initialization_type, *phase, time_ms);
            }
            EventKind::InitRuntimeDone(outcome) => self.init_done(outcome, false, time_ms),
            EventKind::InitReport(outcome) => self.init_done(outcome, true, time_ms),
            EventKind::RestoreStart => self.phase_start(Subject::Restore, false, time_ms),
            EventKind::RestoreRuntimeDone(outcome) => {
                let at = self.phase_row(Subject::Restore, false);
                self.phase_done(at, outcome, false, time_ms);
            }
            EventKind::RestoreReport(outcome) => {
                let at = self.phase_row(Subject::Restore, false);
                self.phase_done(at, outcome, true, time_ms);
            }
            EventKind::Extension { error_type: ErrorType::ExtensionCrash } => {
                add(&mut self.counters.extensions_crashed, 1);
            }
            EventKind::Extension { .. } => {}
            EventKind::LogsDropped { records } => add(&mut self.counters.logs_dropped, *records),
        }
        self.place_held(found);
        self.judge_all(found);
    }

    /// The kernel's `oom_kill` counter rose: a process of the environment was killed for memory, at
    /// or about `time_ms`. Costs a few passes over the table.
    pub fn kernel_kill(&mut self, time_ms: u64, found: &mut Found<'_>) {
        self.hold(None, Evidence::KernelKill, time_ms, found);
        self.place_held(found);
        self.judge_all(found);
    }

    /// The environment ends: open attempts failed if `reason` says so, and what is suspected counts.
    /// Called once, when no more events are waited for.
    pub fn shutdown(&mut self, reason: ShutdownReason, found: &mut Found<'_>) {
        let status = match reason {
            ShutdownReason::Failure => Status::Failure,
            ShutdownReason::Timeout => Status::Timeout,
            ShutdownReason::Other | ShutdownReason::Spindown => Status::Unknown,
        };
        for row in self.attempts.rows_mut().iter_mut().filter(|row| row.is_open()) {
            row.learn(status);
        }
        self.place_held(found);
        let mut unplaced = heapless::Vec::new();
        for line in core::mem::take(&mut self.held) {
            if !self.place_by_guess(&line) {
                self.homeless.add_unless_counted(&line);
                let _ = unplaced.push(HeldLine { is_counted: true, ..line });
            }
            self.let_go(found);
        }
        self.held = unplaced;
        for row in self.attempts.rows_mut() {
            row.is_settled = true;
        }
        self.judge_all(found);
        self.judge_homeless(status, found);
    }

    /// True if nothing more is to be expected: every attempt has its `runtimeDone` or report, no
    /// evidence waits, and if the environment ends by a failure, an attempt that failed is known.
    #[must_use]
    pub fn is_settled(&self, reason: ShutdownReason) -> bool {
        let rows = self.attempts.rows();
        let is_waiting = |row: &Attempt| {
            row.is_open() && !row.joins_next_start && !row.is_before_restart
                || row.has_waiting_evidence()
        };
        self.held.is_empty()
            && !rows.iter().any(is_waiting)
            && (!reason.is_failed() || rows.iter().any(|row| row.status.is_failed()))
    }

    /// What it has done and had to leave out.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { evicted: self.attempts.evicted, ..self.counters }
    }

    /// Writes what must survive a restart. Costs a few passes over the table.
    pub fn snapshot(&self, out: &mut [u8; SNAPSHOT_SIZE]) {
        *out = [0; SNAPSHOT_SIZE];
        let mut encoder = Encoder::new(out);
        self.attempts.encode(&mut encoder);
        encoder.byte(u8::try_from(self.held.len()).unwrap_or(0));
        for line in &self.held {
            encoder.id(line.request_id.as_ref());
            encoder.byte(line.evidence as u8);
            encoder.word(line.time_ms);
            encoder.flag(line.is_counted);
        }
        encoder.byte(self.used.to_bits());
        encoder.byte(self.homeless.evidence.to_bits());
        encoder.word(self.homeless.evidence_ms);
        seal(out);
    }

    /// Goes on from a snapshot, instead of from what it has seen; false if the snapshot is torn,
    /// foreign or of another version, and it has seen nothing then.
    pub fn restore(&mut self, snapshot: &[u8; SNAPSHOT_SIZE]) -> bool {
        self.forget();
        if is_sealed(snapshot) && self.decode(&mut Decoder::new(snapshot)).is_some() {
            return true;
        }
        self.forget();
        false
    }

    fn forget(&mut self) {
        self.attempts.clear();
        self.held.clear();
        self.used = EvidenceSet::EMPTY;
        self.homeless = Attempt::new(Subject::Environment);
    }

    fn decode(&mut self, decoder: &mut Decoder<'_>) -> Option<()> {
        self.attempts.decode(decoder)?;
        for _ in 0..decoder.byte()? {
            let request_id = decoder.id()?;
            let evidence = decoder.evidence()?;
            let time_ms = decoder.word()?;
            let is_counted = decoder.flag()?;
            self.held.push(HeldLine { request_id, evidence, time_ms, is_counted }).ok()?;
        }
        self.used = EvidenceSet::from_bits(decoder.byte()?);
        self.homeless.evidence = EvidenceSet::from_bits(decoder.byte()?);
        self.homeless.evidence_ms = decoder.word()?;
        Some(())
    }

    fn is_managed_instances(&self) -> bool {
        self.settings.initialization_type == InitializationType::ManagedInstances
    }

    fn start(&mut self, id: RequestId, time_ms: u64) {
        let Some((at, has_started)) = self.attempts.start(id, time_ms) else {
            return;
        };
        if has_started {
            self.join_init(at);
        }
        if self.is_managed_instances() {
            return;
        }
        // The attempts before it are over: nothing more is waited for.
        for row in self.attempts.rows_mut() {
            row.is_settled |= row.begun_ms.is_some_and(|begun_ms| begun_ms < time_ms)
                && row.start_ms != Some(time_ms);
        }
    }

    fn runtime_done(
        &mut self,
        id: RequestId,
        status: Status,
        error: ErrorType,
        event_ms: Option<u64>,
        now_ms: u64,
    ) {
        let at = self.attempts.of_end(id, event_ms, now_ms);
        let time_ms = event_ms.unwrap_or(now_ms);
        let at = self.join_init_if_startless(at, time_ms);
        let Some(row) = self.attempts.get_mut(at) else {
            return;
        };
        row.end_ms = row.end_ms.or(Some(time_ms));
        row.learn(status);
        row.learn_error(error, time_ms);
    }

    fn report(&mut self, report: &Report, event_ms: Option<u64>, now_ms: u64) {
        let Some(at) = self.attempts.of_report(report.request_id, event_ms, now_ms) else {
            return;
        };
        let time_ms = event_ms.unwrap_or(now_ms);
        let at = self.join_init_if_startless(at, time_ms);
        let default_size_mb = self.settings.memory_size_mb;
        let Some(row) = self.attempts.get_mut(at) else {
            return;
        };
        row.report_ms = row.report_ms.or(Some(time_ms));
        row.is_settled = true;
        row.learn(report.status);
        row.learn_error(report.error_type, time_ms);
        row.memory_size_mb = row.memory_size_mb.or(report.memory_size_mb);
        row.max_memory_used_mb = row.max_memory_used_mb.or(report.max_memory_used_mb);
        let size_mb = report.memory_size_mb.or(default_size_mb);
        if let (Some(used_mb), Some(size_mb)) = (report.max_memory_used_mb, size_mb)
            && used_mb >= size_mb
        {
            row.add_evidence(Evidence::MemoryAtLimit, time_ms);
        }
    }
}

fn add(counter: &mut u32, count: u32) {
    *counter = counter.saturating_add(count);
}

#[cfg(test)]
mod tests;
