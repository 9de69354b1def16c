//! Decides which attempts ran out of memory: all policy, nothing else.
//!
//! In: events, in whatever order, batch and repetition Lambda delivers them, and the time. Out: at
//! most one [`Detection`] for each attempt. No clock, no I/O, no JSON: same events, same detections.
//!
//! | Evidence | The attempt failed | It succeeded, or its fate was never learned |
//! |---|---|---|
//! | `ErrorType`, `Unhandled` | confirmed | confirmed |
//! | `Fatal`, `KernelKill` | confirmed | suspected |
//! | `MemoryAtLimit`, `Mention` | suspected; both together confirmed | suspected |
//!
//! What is confirmed counts at once. What is suspected counts when the report has come, at
//! SHUTDOWN, or on demand at the next start; what comes later counts then, if nothing did before.
//!
//! A line belongs to an attempt:
//!
//! | The line | Its attempt |
//! |---|---|
//! | has a request id | the one of this id; while it is unknown, the line is held |
//! | has none, on demand | the latest that had started by then, as soon as that is certain: it ended after the line, or a later start is known; before every start, the open init |
//! | has none, Managed Instances | the first that fails within 10 s after it or 1 s before it |
//! | found none until SHUTDOWN | on demand the latest that had started by then, else the environment |

use crate::attempt::{Attempt, AttemptTable};
use crate::detection::{Confidence, Detection, Evidence, EvidenceSet, Subject};
use crate::event::{
    ErrorType, Event, EventKind, InitializationType, LogLine, Phase, PhaseOutcome, Report,
    RequestId, Status,
};
use crate::extensions::ShutdownReason;
use crate::limits::{HELD_LINES_MAX, SNAPSHOT_LINES_MAX, SNAPSHOT_SIZE};
use crate::snapshot::{Decoder, Encoder, is_sealed, seal};

/// Gathers evidence on attempts and tells, once for each, which ran out of memory.
///
/// At most 16 KiB, whatever it observes.
pub struct Detector {
    settings: Settings,
    attempts: AttemptTable,
    held: heapless::Vec<HeldLine, HELD_LINES_MAX>,
    /// Kinds of suspected evidence that have counted on a success ([`Suspected::Once`]).
    used: EvidenceSet,
    /// Evidence that no attempt was found for.
    homeless: Attempt,
    counters: Counters,
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
    /// Attempts that left a full table.
    pub evicted: u32,
    /// Lines placed by guess because too many were held.
    pub guessed: u32,
    /// Records that Lambda said it threw away.
    pub logs_dropped: u32,
    /// Extensions that Lambda said had crashed.
    pub extensions_crashed: u32,
}

/// A line with evidence that waits for its attempt.
#[derive(Clone, Copy, Debug)]
struct HeldLine {
    request_id: Option<RequestId>,
    evidence: Evidence,
    time_ms: u64,
    /// It has counted for the environment: the attempt that it is found to belong to has counted.
    is_counted: bool,
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
                self.runtime_done(*request_id, *status, *error_type, time_ms);
            }
            EventKind::Report(report) => self.report(report, time_ms),
            EventKind::Function(line) | EventKind::Fault(line) => self.line(line, time_ms),
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
        self.place_held();
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
        self.place_held();
        let mut unplaced = heapless::Vec::new();
        for line in core::mem::take(&mut self.held) {
            if !self.place_by_guess(&line) {
                self.homeless.add_unless_counted(&line);
                let _ = unplaced.push(HeldLine { is_counted: true, ..line });
            }
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
                || !row.evidence.is_empty() && !row.is_counted && !row.is_settled
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
        let surplus = self.held.len().saturating_sub(SNAPSHOT_LINES_MAX);
        let lines = self.held.get(surplus..).unwrap_or_default();
        encoder.byte(u8::try_from(lines.len()).unwrap_or(0));
        for line in lines {
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

    /// A detector that goes on from a snapshot; `None` if the snapshot is torn, foreign or of
    /// another version.
    #[must_use]
    pub fn restore(settings: Settings, snapshot: &[u8; SNAPSHOT_SIZE]) -> Option<Self> {
        if !is_sealed(snapshot) {
            return None;
        }
        let mut detector = Self::new(settings);
        let mut decoder = Decoder::new(snapshot);
        detector.attempts.decode(&mut decoder)?;
        for _ in 0..decoder.byte()? {
            let request_id = decoder.id()?;
            let evidence = decoder.evidence()?;
            let time_ms = decoder.word()?;
            let is_counted = decoder.flag()?;
            detector.held.push(HeldLine { request_id, evidence, time_ms, is_counted }).ok()?;
        }
        detector.used = EvidenceSet::from_bits(decoder.byte()?);
        detector.homeless.evidence = EvidenceSet::from_bits(decoder.byte()?);
        detector.homeless.evidence_ms = decoder.word()?;
        Some(detector)
    }

    fn is_managed_instances(&self) -> bool {
        self.settings.initialization_type == InitializationType::ManagedInstances
    }

    fn start(&mut self, id: RequestId, time_ms: u64) {
        let Some((at, is_new)) = self.attempts.start(id, time_ms) else {
            return;
        };
        if is_new {
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

    fn runtime_done(&mut self, id: RequestId, status: Status, error: ErrorType, time_ms: u64) {
        let at = match self.attempts.of_id(&id, time_ms) {
            Some(at) => at,
            None => self.attempts.insert(Attempt::new(Subject::Invocation(id))),
        };
        let Some(row) = self.attempts.get_mut(at) else {
            return;
        };
        row.end_ms = row.end_ms.or(Some(time_ms));
        row.learn(status);
        row.learn_error(error, time_ms);
    }

    fn report(&mut self, report: &Report, time_ms: u64) {
        let Some(at) = self.attempts.of_report(report.request_id, time_ms) else {
            return;
        };
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

    fn init_start(&mut self, kind: InitializationType, phase: Phase, time_ms: u64) {
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
            None => self.phase_start(Subject::Init, joins, time_ms),
        }
    }

    fn init_done(&mut self, outcome: &PhaseOutcome, is_report: bool, time_ms: u64) {
        let joins = self.init_joins(outcome.initialization_type, outcome.phase);
        let invocation = if joins { self.invocation_of_init(outcome.phase, time_ms) } else { None };
        if let Some(row) = invocation.and_then(|at| self.attempts.get_mut(at)) {
            // The init's status is not the invocation's: Lambda repeats a failed init.
            row.learn_error(outcome.error_type, time_ms);
            return;
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
    fn phase_start(&mut self, subject: Subject, joins: bool, time_ms: u64) {
        let is_same = |row: &Attempt| joins || row.start_ms.is_none_or(|ms| ms == time_ms);
        let latest = self.attempts.latest_of(subject);
        let same = latest.filter(|at| self.attempts.get(*at).is_some_and(is_same));
        let at = same.unwrap_or_else(|| self.new_phase(subject, joins));
        if let Some(row) = self.attempts.get_mut(at) {
            row.start(time_ms);
        }
    }

    /// The open init or restore; if its start was lost, it is made.
    fn phase_row(&mut self, subject: Subject, joins: bool) -> usize {
        self.attempts.latest_of(subject).unwrap_or_else(|| self.new_phase(subject, joins))
    }

    fn new_phase(&mut self, subject: Subject, joins: bool) -> usize {
        let mut attempt = Attempt::new(subject);
        attempt.joins_next_start = joins;
        self.attempts.insert(attempt)
    }

    fn phase_done(&mut self, at: usize, outcome: &PhaseOutcome, is_report: bool, time_ms: u64) {
        let Some(row) = self.attempts.get_mut(at) else {
            return;
        };
        row.learn(outcome.status);
        row.learn_error(outcome.error_type, time_ms);
        // One that joins an invocation stays open until that starts.
        if is_report && !row.joins_next_start {
            row.report_ms = row.report_ms.or(Some(time_ms));
            row.is_settled = true;
        } else if !row.joins_next_start {
            row.end_ms = row.end_ms.or(Some(time_ms));
        }
    }

    /// The invocation at `at` takes over the init that ran for it: one failing call, one count.
    fn join_init(&mut self, at: usize) {
        let joins = |row: &Attempt| row.joins_next_start;
        let init = self.attempts.rows().iter().find(|row| joins(row)).copied();
        let (Some(init), Some(row)) = (init, self.attempts.get_mut(at)) else {
            return;
        };
        row.evidence = init.evidence;
        row.evidence_ms = init.evidence_ms;
        row.is_counted = init.is_counted;
        if let Some(begun_ms) = init.begun_ms {
            row.begin(begun_ms);
        }
        self.attempts.remove_where(joins);
    }

    fn line(&mut self, line: &LogLine, time_ms: u64) {
        let Some(evidence) = line.evidence else {
            return;
        };
        let held = HeldLine { request_id: line.request_id, evidence, time_ms, is_counted: false };
        if self.held.is_full() {
            let oldest = self.held.remove(0);
            add(&mut self.counters.guessed, 1);
            if !self.place_by_guess(&oldest) {
                self.homeless.add_unless_counted(&oldest);
            }
        }
        let _ = self.held.push(held);
    }

    /// Places the held lines whose attempt has become certain.
    fn place_held(&mut self) {
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
        }
    }

    /// The attempt that a line belongs to, if no later event can change that.
    fn certain_attempt(&mut self, line: &HeldLine) -> Option<usize> {
        if let Some(id) = &line.request_id {
            return self.attempts.of_id(id, line.time_ms);
        }
        if self.is_managed_instances() {
            return self.failed_near(line.time_ms);
        }
        let at = self.attempts.latest_begun_by(line.time_ms)?;
        // Rather miss a count than count a line a second time.
        let is_certain = line.is_counted
            || self.attempts.get(at)?.joins_next_start
            || self.attempts.get(at)?.ended_ms().is_some_and(|end_ms| end_ms >= line.time_ms)
            || self.attempts.has_begun_after(line.time_ms);
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
    fn place_by_guess(&mut self, line: &HeldLine) -> bool {
        let at = self.likely_attempt(line.time_ms).filter(|_| !self.is_managed_instances());
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

    /// Counts every attempt that it is time to count, and lets go of the one that left the table.
    fn judge_all(&mut self, found: &mut Found<'_>) {
        for at in 0..self.attempts.rows().len() {
            let Some(mut attempt) = self.attempts.get(at).copied() else {
                continue;
            };
            self.judge(&mut attempt, found);
            if let Some(row) = self.attempts.get_mut(at) {
                row.is_counted = attempt.is_counted;
            }
        }
        if let Some(mut leaver) = self.attempts.take_leaver() {
            leaver.is_settled = true;
            self.judge(&mut leaver, found);
            self.attempts.bury(&leaver);
        }
    }

    /// Evidence that belongs to no attempt counts once for the environment.
    fn judge_homeless(&mut self, status: Status, found: &mut Found<'_>) {
        let mut environment = self.homeless;
        environment.is_settled = true;
        if !self.is_managed_instances() {
            environment.learn(status);
        }
        self.judge(&mut environment, found);
        if environment.is_counted {
            self.homeless = Attempt::new(Subject::Environment);
        }
    }

    fn judge(&mut self, attempt: &mut Attempt, found: &mut Found<'_>) {
        if let Some(detection) = self.verdict(attempt) {
            attempt.is_counted = true;
            add(&mut self.counters.detections, 1);
            found(&detection);
        }
    }

    fn verdict(&mut self, attempt: &Attempt) -> Option<Detection> {
        if attempt.is_counted || attempt.evidence.is_empty() {
            return None;
        }
        let confidence = match confirms(attempt) {
            true => Confidence::Confirmed,
            false if attempt.is_settled && self.suspicion_counts(attempt) => Confidence::Suspected,
            false => return None,
        };
        Some(Detection {
            subject: attempt.subject,
            evidence: attempt.evidence,
            confidence,
            status: attempt.status,
            time_ms: attempt.evidence_ms,
            memory_size_mb: attempt.memory_size_mb.or(self.settings.memory_size_mb),
            max_memory_used_mb: attempt.max_memory_used_mb,
        })
    }

    fn suspicion_counts(&mut self, attempt: &Attempt) -> bool {
        match self.settings.suspected {
            Suspected::Count => true,
            Suspected::Ignore => false,
            Suspected::Once if attempt.status != Status::Success => true,
            Suspected::Once => {
                let is_new = !attempt.evidence.without(self.used).is_empty();
                self.used = self.used.union(attempt.evidence);
                is_new
            }
        }
    }
}

impl Attempt {
    fn add_line(&mut self, line: &HeldLine) {
        self.add_evidence(line.evidence, line.time_ms);
        self.is_counted |= line.is_counted;
    }

    fn add_unless_counted(&mut self, line: &HeldLine) {
        if !line.is_counted {
            self.add_evidence(line.evidence, line.time_ms);
        }
    }
}

/// The table in the module's documentation.
fn confirms(attempt: &Attempt) -> bool {
    let has = |kind| attempt.evidence.contains(kind);
    let alone = has(Evidence::ErrorType) || has(Evidence::Unhandled);
    let if_failed = has(Evidence::Fatal)
        || has(Evidence::KernelKill)
        || has(Evidence::MemoryAtLimit) && has(Evidence::Mention);
    alone || if_failed && attempt.status.is_failed()
}

fn add(counter: &mut u32, count: u32) {
    *counter = counter.saturating_add(count);
}

#[cfg(test)]
mod tests;
