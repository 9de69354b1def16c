//! Decides which attempts ran out of memory.
//!
//! In: events, in any order and repetition, and the time. Out: at most one [`Detection`] for each
//! attempt. There is no clock, no I/O and no JSON here, so the same events give the same
//! detections.
//!
//! The table in `verdict` says what evidence means. The table in `lines` says which attempt a line
//! belongs to.
//!
//! A confirmed attempt counts at once. A suspected one counts when its report has come, at
//! SHUTDOWN, or on demand at the next start. Later evidence counts when it comes, unless the
//! attempt has counted already.

mod high_water;
mod lines;
mod phases;
mod verdict;

use self::high_water::HighWaterMark;
use self::lines::HeldLine;
use self::verdict::Judge;
use crate::detect::attempt::{Attempt, FirstStart};
use crate::detect::attempt_table::AttemptTable;
use crate::detect::detection::{Detection, Subject};
use crate::detect::snapshot::{Decoder, seal, unseal};
use crate::scan::event::{
    ErrorType, Event, EventKind, InitializationType, Report, RequestId, Status,
};
use crate::scan::evidence::{Evidence, EvidenceSet};
use crate::scan::extensions::ShutdownReason;
use crate::scan::runtime::Runtime;
use crate::sizes::{HELD_LINES_MAX, SNAPSHOT_SIZE};

/// Gathers evidence on attempts, and reports each attempt that ran out of memory once.
///
/// It takes at most 32 KiB, whatever it observes. The last 25 KiB are rows that stay untouched
/// while invocations come one after another.
///
/// A restart of the process must not count an attempt again:
///
/// ```
/// use oom_witness_core::sizes::SNAPSHOT_SIZE;
/// use oom_witness_core::{
///     Detection, Detector, ErrorType, Event, EventKind, Report, RequestId, Settings, Status,
/// };
///
/// let report = Report {
///     status: Status::Error,
///     error_type: ErrorType::OutOfMemory,
///     ..Report::new(RequestId::try_from("3c1a12d9")?)
/// };
/// let event = Event { time_ms: Some(1_795_332_899_808), kind: EventKind::Report(report) };
/// let mut count = 0;
/// let mut on_detection = |detection: &Detection| count += detection.count;
///
/// let mut detector = Detector::new(Settings::default());
/// detector.observe(&event, 0, &mut on_detection);
/// let mut snapshot = [0; SNAPSHOT_SIZE];
/// let length = detector.snapshot(&mut snapshot);
///
/// let mut detector = Detector::new(Settings::default());
/// assert!(detector.restore(&snapshot[..length], 1_795_332_900_000));
/// detector.observe(&event, 0, &mut on_detection);
/// assert_eq!(count, 1);
/// # Ok::<(), oom_witness_core::Error>(())
/// ```
// In this order, so that the used parts share pages.
#[repr(C)]
pub struct Detector {
    judge: Judge,
    held: heapless::Vec<HeldLine, HELD_LINES_MAX>,
    /// Evidence for which no attempt was found.
    environment: Attempt,
    mark: HighWaterMark,
    /// Time of the latest event.
    latest_ms: u64,
    /// SHUTDOWN has come, and no event since.
    is_over: bool,
    runtime: Runtime,
    gap: Option<Gap>,
    attempts: AttemptTable,
}

/// The settings of a detector: what it cannot learn from events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// What to do with detections that are only suspected.
    pub suspected: Suspected,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`. If it is unknown, that of `platform.initStart` is taken.
    pub initialization_type: InitializationType,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, for reports without `memorySizeMB`.
    pub memory_size_mb: Option<u32>,
    /// From which share of the limit, in percent, the high-water mark gives a
    /// [`DetectionKind::HighWater`](crate::DetectionKind::HighWater), once for each life of the
    /// environment. `None` for never.
    pub high_water_percent: Option<u8>,
}

impl Settings {
    /// Count everything, warn of nothing, and learn the rest from events.
    pub const DEFAULT: Self = Self {
        suspected: Suspected::Count,
        initialization_type: InitializationType::Unknown,
        memory_size_mb: None,
        high_water_percent: None,
    };
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What to do with detections that are only suspected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Suspected {
    /// Count them, attempt by attempt.
    #[default]
    Count,
    /// Leave them out.
    Ignore,
    /// For successful attempts, count each kind of evidence once per environment.
    Once,
}

/// What a detector has done, and what it has left out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Detections made, of both kinds.
    pub detections: u32,
    /// Attempts that left a full table, or for which a snapshot had no room, in this process and in
    /// the earlier ones that it continues.
    pub evicted: u32,
    /// Lines assigned by guess because too many were held.
    pub guessed: u32,
    /// Records that Lambda reported as dropped.
    pub logs_dropped: u32,
    /// Extensions that Lambda reported as crashed.
    pub extensions_crashed: u32,
}

/// The time between the last event that the previous process kept and the start of this process.
/// The previous process was killed, so it may have seen more than it kept.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from_ms: u64,
    to_ms: u64,
}

/// Takes each detection.
type OnDetection<'a> = dyn FnMut(&Detection) + 'a;

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        let mut attempts = AttemptTable::new();
        if matches!(settings.initialization_type, InitializationType::ManagedInstances) {
            attempts.expect_concurrency();
        }
        let counters = Counters {
            detections: 0,
            evicted: 0,
            guessed: 0,
            logs_dropped: 0,
            extensions_crashed: 0,
        };
        Self {
            judge: Judge { settings, used: EvidenceSet::EMPTY, counters, revision: 0 },
            attempts,
            held: heapless::Vec::new(),
            environment: Attempt::new(Subject::Environment),
            mark: HighWaterMark::new(),
            latest_ms: 0,
            is_over: false,
            runtime: Runtime::UNKNOWN,
            gap: None,
        }
    }

    /// Takes the next event. `now_ms` (milliseconds since the epoch) replaces a missing time. Costs
    /// a few passes over the table.
    pub fn observe(&mut self, event: &Event, now_ms: u64, emit: &mut OnDetection<'_>) {
        let time_ms = event.time_ms.unwrap_or(now_ms);
        self.latest_ms = self.latest_ms.max(time_ms);
        self.is_over = false;
        match &event.kind {
            EventKind::Start { request_id } => self.start(*request_id, time_ms, emit),
            EventKind::RuntimeDone { request_id, status, error_type } => {
                self.runtime_done(*request_id, *status, *error_type, event.time_ms, now_ms, emit);
            }
            EventKind::Report(report) => self.report(report, event.time_ms, now_ms, emit),
            EventKind::Function(line) | EventKind::Fault(line) => {
                self.line(line, time_ms, emit);
            }
            EventKind::InitStart { initialization_type, phase, runtime } => {
                self.learn_runtime(*runtime);
                self.init_start(*initialization_type, *phase, time_ms, emit);
            }
            EventKind::InitRuntimeDone(outcome) => {
                self.init_done(outcome, false, time_ms, emit);
            }
            EventKind::InitReport(outcome) => self.init_done(outcome, true, time_ms, emit),
            EventKind::RestoreStart => {
                self.phase_start(Subject::Restore, false, time_ms, emit);
            }
            EventKind::RestoreRuntimeDone(outcome) => {
                self.phase_done(Subject::Restore, false, outcome, false, time_ms, emit);
            }
            EventKind::RestoreReport(outcome) => {
                self.phase_done(Subject::Restore, false, outcome, true, time_ms, emit);
            }
            EventKind::Extension { error_type: ErrorType::ExtensionCrash } => {
                add(&mut self.judge.counters.extensions_crashed, 1);
            }
            EventKind::Extension { .. } => {}
            EventKind::LogsDropped { records } => {
                add(&mut self.judge.counters.logs_dropped, *records);
            }
        }
        self.place_held(emit);
        self.judge_all(emit);
    }

    /// The kernel's `oom_kill` counter rose: a process of the environment was killed for memory, at
    /// or about `time_ms`. Costs a few passes over the table.
    pub fn kernel_kill(&mut self, time_ms: u64, emit: &mut OnDetection<'_>) {
        self.take_kill(HeldLine::kill(time_ms), emit);
    }

    /// The counter had risen when this process began, at `now_ms`. The kernel killed a process
    /// after the previous agent had last read the counter. Costs a few passes over the table.
    pub fn kernel_kill_before_restart(&mut self, now_ms: u64, emit: &mut OnDetection<'_>) {
        self.take_kill(HeldLine { is_before_restart: true, ..HeldLine::kill(now_ms) }, emit);
    }

    fn take_kill(&mut self, kill: HeldLine, emit: &mut OnDetection<'_>) {
        self.hold(kill, emit);
        self.place_held(emit);
        self.judge_all(emit);
    }

    /// Ends the environment. Open attempts have failed if `reason` is a failure, and suspected ones
    /// count. Call it once, when no more events are expected.
    pub fn shutdown(&mut self, reason: ShutdownReason, emit: &mut OnDetection<'_>) {
        let status = match reason {
            ShutdownReason::Failure => Status::Failure,
            ShutdownReason::Timeout => Status::Timeout,
            ShutdownReason::Other | ShutdownReason::Spindown => Status::Unknown,
        };
        for row in self.attempts.rows_mut().iter_mut().filter(|row| row.is_open()) {
            row.learn(status);
        }
        self.is_over = true;
        self.judge.note_change();
        self.place_held(emit);
        let mut unplaced = heapless::Vec::new();
        for line in core::mem::take(&mut self.held) {
            if !self.place_by_guess(&line, emit) {
                self.environment.add_unless_counted(&line);
                let _ = unplaced.push(HeldLine { is_counted: true, ..line });
            }
        }
        self.held = unplaced;
        for row in self.attempts.rows_mut() {
            row.is_settled = true;
        }
        self.judge_all(emit);
        self.judge_environment(status, emit);
    }

    /// True if nothing more is expected. Each attempt has its `runtimeDone` or report, no evidence
    /// waits, and if the environment ends by a failure, a failed attempt is known.
    #[must_use]
    pub fn is_settled(&self, reason: ShutdownReason) -> bool {
        let rows = self.attempts.rows();
        let is_waiting = |row: &Attempt| is_unfinished(row) || row.has_waiting_evidence();
        self.held.is_empty()
            && !rows.iter().any(is_waiting)
            && (!reason.is_failed() || rows.iter().any(|row| row.status.is_failed()))
    }

    /// True if an attempt may be running whose end may still be reported.
    #[must_use]
    pub fn expects_an_end(&self) -> bool {
        self.attempts.rows().iter().any(|row| is_unfinished(row) && !row.is_settled)
    }

    /// True if there is evidence that has not counted and may still.
    #[must_use]
    pub fn has_waiting_evidence(&self) -> bool {
        !self.held.is_empty() || self.attempts.rows().iter().any(Attempt::has_waiting_evidence)
    }

    /// The runtime that `platform.initStart` named.
    #[must_use]
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Counts of what it has done, and of what it has left out.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { evicted: self.attempts.evicted, ..self.judge.counters }
    }

    /// A number that changes whenever a new snapshot would hold something new.
    #[must_use]
    pub const fn revision(&self) -> u32 {
        self.judge.revision
    }

    /// Writes what must survive a restart to the start of `out`, and returns its length. That is a
    /// few hundred bytes if little has happened. Costs a few passes over the table.
    pub fn snapshot(&self, out: &mut [u8; SNAPSHOT_SIZE]) -> usize {
        seal(out, |encoder| {
            self.attempts.encode(encoder);
            encoder.byte(u8::try_from(self.held.len()).unwrap_or(0));
            for line in &self.held {
                encoder.id(line.request_id.as_ref());
                encoder.byte(line.evidence as u8);
                encoder.word(line.time_ms);
                encoder.flag(line.is_counted);
                encoder.flag(line.is_before_restart);
            }
            encoder.byte(self.judge.used.to_bits());
            encoder.byte(self.environment.evidence.to_bits());
            encoder.word(self.environment.evidence_ms);
            encoder.word(self.latest_ms);
            encoder.flag(self.is_over);
            self.mark.encode(encoder);
            encoder.runtime(self.runtime);
        })
    }

    /// Forgets everything and continues from a snapshot. False if the snapshot is torn, foreign or
    /// of another version; the detector is then empty. `now_ms` is when this process began. Lambda
    /// restarts an extension only after a reset of the environment.
    pub fn restore(&mut self, snapshot: &[u8], now_ms: u64) -> bool {
        self.forget();
        if unseal(snapshot).is_none_or(|mut decoder| self.decode(&mut decoder).is_none()) {
            self.forget();
            return false;
        }
        self.mark.reset(now_ms);
        if !self.is_over && self.latest_ms < now_ms {
            self.gap = Some(Gap { from_ms: self.latest_ms, to_ms: now_ms });
            self.attempts.forget_quiet_inits();
        }
        true
    }

    fn forget(&mut self) {
        self.attempts.clear();
        self.held.clear();
        self.judge.used = EvidenceSet::EMPTY;
        self.environment = Attempt::new(Subject::Environment);
        self.mark = HighWaterMark::new();
        self.latest_ms = 0;
        self.is_over = false;
        self.runtime = Runtime::UNKNOWN;
        self.gap = None;
        self.judge.note_change();
    }

    fn decode(&mut self, decoder: &mut Decoder<'_>) -> Option<()> {
        self.attempts.decode(decoder)?;
        for _ in 0..decoder.byte()? {
            let line = HeldLine {
                request_id: decoder.id()?,
                evidence: decoder.evidence()?,
                time_ms: decoder.word()?,
                is_counted: decoder.flag()?,
                is_before_restart: decoder.flag()?,
            };
            self.held.push(line).ok()?;
        }
        self.judge.used = EvidenceSet::from_bits(decoder.byte()?);
        self.environment.evidence = EvidenceSet::from_bits(decoder.byte()?);
        self.environment.evidence_ms = decoder.word()?;
        self.latest_ms = decoder.word()?;
        self.is_over = decoder.flag()?;
        self.mark = HighWaterMark::decode(decoder)?;
        self.runtime = decoder.runtime()?;
        Some(())
    }

    fn is_managed_instances(&self) -> bool {
        self.judge.settings.initialization_type == InitializationType::ManagedInstances
    }

    fn start(&mut self, id: RequestId, time_ms: u64, emit: &mut OnDetection<'_>) {
        let Some(placement) = self.attempts.place_start(id, time_ms) else { return };
        let row = self.attempts.admit(placement, self.judge.judge_last(emit));
        let started = row.map(|row| {
            self.judge.note_change_of(row);
            row.id
        });
        if self.is_managed_instances() {
            return;
        }
        // The attempts before it have ended, so no more events of theirs are expected.
        let mut prepared_ms = None;
        for row in self.attempts.rows_mut() {
            let begin_ms = row.begin.get().filter(|begin_ms| *begin_ms < time_ms);
            row.is_settled |= begin_ms.is_some() && !row.start.is(time_ms);
            if begin_ms.is_some() && row.waits_for_first_start() {
                row.first = FirstStart::Cold;
                prepared_ms = prepared_ms.max(begin_ms);
            }
        }
        if prepared_ms.is_some()
            && let Some(row) = started.and_then(|id| self.attempts.row_mut(id))
        {
            row.follow(prepared_ms);
        }
    }

    fn runtime_done(
        &mut self,
        id: RequestId,
        status: Status,
        error_type: ErrorType,
        event_ms: Option<u64>,
        now_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let placement = self.attempts.place_end(id, event_ms, now_ms);
        let row = self.attempts.admit(placement, self.judge.judge_last(emit));
        let Some(row) = row else { return };
        let time_ms = event_ms.unwrap_or(now_ms);
        row.end.learn(time_ms);
        row.learn(status);
        row.learn_error(error_type, time_ms);
        weigh_memory(row, &mut self.mark, &self.judge.settings, false, time_ms);
        self.mark.reset_if_failed(status, time_ms);
        self.judge.note_change_of(row);
    }

    fn report(
        &mut self,
        report: &Report,
        event_ms: Option<u64>,
        now_ms: u64,
        emit: &mut OnDetection<'_>,
    ) {
        let placement = self.attempts.place_report(report.request_id, event_ms, now_ms);
        let Some(placement) = placement else { return };
        let row = self.attempts.admit(placement, self.judge.judge_last(emit));
        let Some(row) = row else { return };
        let time_ms = event_ms.unwrap_or(now_ms);
        let is_first = !row.report.is_known();
        row.report.learn(time_ms);
        row.is_settled = true;
        row.learn(report.status);
        row.learn_error(report.error_type, time_ms);
        row.learn_memory(report.max_memory_used_mb, report.memory_size_mb);
        weigh_memory(row, &mut self.mark, &self.judge.settings, is_first, time_ms);
        if is_first && self.judge.settings.high_water_percent.is_some() {
            self.judge.warn_if_near_limit(row, &mut self.mark, time_ms, emit);
        }
        self.mark.reset_if_failed(report.status, time_ms);
        self.judge.note_change_of(row);
    }
}

/// The high-water mark at the limit is evidence on a failure. On a success it is evidence only if
/// the first report of the attempt (`is_first`) has raised the mark to the limit.
fn weigh_memory(
    row: &mut Attempt,
    mark: &mut HighWaterMark,
    settings: &Settings,
    is_first: bool,
    time_ms: u64,
) {
    let has_failed = row.status.is_failed();
    let is_at_limit = row.is_at_limit(settings.memory_size_mb);
    let has_risen = is_at_limit && is_first && !has_failed && mark.rise(time_ms);
    if has_risen || is_at_limit && has_failed {
        row.add_evidence(Evidence::MemoryAtLimit, row.report.get().unwrap_or(time_ms));
    }
}

/// True if it may still be running, so that its end may still be reported.
const fn is_unfinished(row: &Attempt) -> bool {
    row.is_open() && !row.joins_next_start && !row.is_before_restart
}

fn add(counter: &mut u32, count: u32) {
    *counter = counter.saturating_add(count);
}

#[cfg(test)]
mod tests;
