//! The one loop, and the only place that waits: for the next event, for telemetry, for a child.
//!
//! In: a registered extension and a bound listener. Out: the exit code, after SHUTDOWN.
//! It decides nothing: [`Schedule`] says what is due and until when to wait, and the loop does it.
//! It allocates nothing, starts no thread, and no error of a system call ends it.

use std::time::{Duration, Instant};

use log::error;
use oom_witness_core::extensions::Next;
use oom_witness_core::format::otlp::OtlpSums;
use oom_witness_core::hash::{START, fnv1a};
use oom_witness_core::{Detector, Event, EventKind, ShutdownReason, Status};

use crate::clock::now_ms;
use crate::delivery::outbox::{BODY_SIZE, Outbox};
use crate::delivery::running_send::RunningSend;
use crate::delivery::sink::{RequestContext, SinkContext};
use crate::error::{Error, FAILURE};
use crate::journal::{Facts, Journal};
use crate::kernel::KernelCounter;
use crate::lambda::extensions_api::{ExtensionsApi, NextAnswer};
use crate::lambda::telemetry_api::{Activity, CONNECTIONS_MAX, Telemetry};
use crate::logger::warn_once;
use crate::sys::{self, PollEntry, SHORTAGE_PAUSE, Stream, is_shortage};

mod last_line;
mod schedule;

use schedule::{Action, Situation, earliest, timeout_ms};

pub(crate) use schedule::Schedule;
#[cfg(feature = "network")]
pub(crate) use schedule::{KEY_SEND_MAX, SEND_MAX};

/// Pieces that are read from one connection before the other connections are read.
const READS_MAX: usize = 16;

/// Everything that the loop works with.
pub(crate) struct EventLoop<'a> {
    pub(crate) api: &'a mut ExtensionsApi,
    pub(crate) telemetry: &'a mut Telemetry,
    pub(crate) detector: &'a mut Detector,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) journal: &'a mut Journal,
    pub(crate) kernel: &'a mut KernelCounter,
    pub(crate) facts: Facts,
    /// When the last invocation ended, if that has been reported since its INVOKE.
    pub(crate) ended_ms: Option<u64>,
    /// When the last INVOKE arrived.
    pub(crate) invoked_ms: u64,
    /// When the kernel's count was read last.
    pub(crate) looked_ms: u64,
    pub(crate) context: SinkContext<'a>,
    /// When this process began to count.
    pub(crate) start_ms: u64,
    pub(crate) schedule: Schedule,
    /// The send that runs. The schedule knows until when.
    pub(crate) sending: Option<RunningSend>,
}

impl EventLoop<'_> {
    /// Runs until SHUTDOWN, or until the Extensions API says that the environment is lost.
    // A function of its own: `cargo layer` places everything that it can reach side by side.
    #[inline(never)]
    pub(crate) fn run(mut self) -> u8 {
        sys::touch_stack();
        self.look_for_kills_before_restart();
        self.commit();
        sys::give_back_start();
        let code = loop {
            let now = Instant::now();
            match self.schedule.action(now, &self.situation()) {
                Action::Ask => self.ask_next(now),
                Action::Send { until } => self.start_send(until),
                Action::Settle(reason) => {
                    self.settle(reason);
                    self.schedule.note_settled();
                }
                Action::Wait { until } => self.wait(until),
                Action::End => break 0,
                Action::GiveUp => {
                    self.settle(ShutdownReason::Other);
                    error!("{}", Error::Unrecoverable);
                    break FAILURE;
                }
            }
        };
        self.facts.is_running = false;
        self.save();
        self.log_last_line();
        code
    }

    /// What the schedule needs to know now.
    fn situation(&self) -> Situation {
        let Self { outbox, detector, .. } = self;
        let Some(reason) = self.schedule.shutdown_reason() else {
            return Situation {
                is_due: outbox.is_due(false),
                fetches_key: outbox.fetches_key(false),
                ..Situation::default()
            };
        };
        Situation {
            is_due: !outbox.is_sent(),
            fetches_key: outbox.fetches_key(true),
            has_evidence: outbox.has_network() && detector.has_waiting_evidence(),
            expects_an_end: detector.expects_an_end(),
            is_complete: detector.is_settled(reason) && !self.telemetry.is_receiving(),
            waits_for_stdout: outbox.waits_for_stdout(),
        }
    }

    fn ask_next(&mut self, now: Instant) {
        match self.api.ask_next() {
            Ok(()) => self.schedule.note_asked(),
            Err(error) => {
                warn_once!("cannot ask for the next event, trying again: {error}");
                self.schedule.note_api_error(now);
            }
        }
    }

    // A frame of its own: its buffer is on the stack only as long as it is needed.
    #[cold]
    #[inline(never)]
    fn start_send(&mut self, until: Instant) {
        let mut buffer = [0; BODY_SIZE];
        let in_shutdown = self.schedule.in_shutdown();
        self.context.source.runtime = *self.detector.runtime();
        let token = &self.facts.token;
        let has_token = token.iter().any(|byte| *byte != 0);
        let context = RequestContext {
            source: &self.context.source,
            settings: self.context.settings,
            now_ms: now_ms(),
            start_ms: self.start_ms,
            environment: if has_token { fnv1a(START, token) } else { 0 },
            before: OtlpSums::ZERO,
        };
        let begun = self.outbox.begin_send(in_shutdown, &context, &mut buffer);
        self.save();
        let Some((sink, length)) = begun else { return };
        match self.outbox.start(sink, buffer.get(..length).unwrap_or_default()) {
            Ok(sending) => {
                self.sending = Some(sending);
                self.schedule.note_send_start(until);
            }
            Err(error) => {
                warn_once!("cannot start a send: {error}");
                self.schedule.note_send_failure(Instant::now());
            }
        }
    }

    /// Judges every attempt, since nothing more will be learned.
    fn settle(&mut self, reason: ShutdownReason) {
        self.look_for_kills(now_ms());
        let Self { detector, outbox, context, .. } = self;
        detector.shutdown(reason, &mut |detection| outbox.keep(detection, context));
        self.commit();
    }

    /// Looks whether the kernel has killed a process since the last look. If so, it did about
    /// `time_ms`.
    fn look_for_kills(&mut self, time_ms: u64) {
        let Self { detector, outbox, context, kernel, .. } = self;
        if kernel.has_risen() {
            detector.kernel_kill(time_ms, &mut |detection| outbox.keep(detection, context));
        }
        self.facts.kills = self.kernel.count();
        self.looked_ms = now_ms();
    }

    /// Looks whether the kernel has killed a process before this process began.
    fn look_for_kills_before_restart(&mut self) {
        let Self { detector, outbox, context, kernel, .. } = self;
        self.looked_ms = now_ms();
        if kernel.has_risen() {
            detector.kernel_kill_before_restart(self.looked_ms, &mut |detection| {
                outbox.keep(detection, context);
            });
        }
        self.facts.kills = self.kernel.count();
    }

    /// Saves what has become known, then writes what can be written at once. A metric is saved as
    /// begun before it is written, so that a restart does not write it again.
    fn commit(&mut self) {
        self.facts.is_in_doubt = self.telemetry.is_in_doubt();
        let begins = self.outbox.begin_writes(self.schedule.is_ending());
        self.save();
        if begins {
            self.outbox.write(&self.context);
            self.save();
        }
    }

    fn save(&mut self) {
        self.journal.save(self.detector, self.outbox, self.facts);
    }

    /// Waits until something happens, at most until `until`, and takes it in.
    fn wait(&mut self, until: Option<Instant>) {
        let mut watches = [PollEntry::NONE; 4 + CONNECTIONS_MAX];
        let now = Instant::now();
        let full_until = self.telemetry.full_until().filter(|until| now < *until);
        {
            let [stdout, next, child, listener, connections @ ..] = &mut watches;
            if self.outbox.waits_for_stdout() {
                *stdout = Stream::Stdout.writable();
            }
            if self.schedule.expects_event() {
                *next = self.api.socket().map_or(PollEntry::NONE, PollEntry::readable);
            }
            if let Some(sending) = &self.sending {
                *child = PollEntry::readable(sending.output());
            }
            if full_until.is_none() {
                *listener = self.telemetry.listener().map_or(PollEntry::NONE, PollEntry::readable);
            }
            for (watch, socket) in connections.iter_mut().zip(self.telemetry.sockets()) {
                *watch = socket.map_or(PollEntry::NONE, PollEntry::readable);
            }
        }
        let timeout = timeout_ms(now, earliest(until, full_until));
        if let Err(error) = sys::poll(&mut watches, timeout) {
            if error.kind() != std::io::ErrorKind::Interrupted {
                sys::pause(SHORTAGE_PAUSE);
            }
            return;
        }
        let [stdout, next, child, listener, connections @ ..] = &watches;
        if stdout.is_ready() {
            self.outbox.stdout_has_room();
            self.commit();
        }
        // Telemetry that arrived before SHUTDOWN is read before SHUTDOWN.
        let mut is_short = self.read_telemetry(*listener, connections);
        self.read_child(child.is_ready());
        if next.is_ready() {
            is_short |= self.read_next();
        }
        if is_short {
            sys::pause(SHORTAGE_PAUSE);
        }
    }

    /// True if the kernel lacks memory or descriptors.
    fn read_telemetry(&mut self, listener: PollEntry, connections: &[PollEntry]) -> bool {
        let mut sum = Activity::default();
        for (slot, _) in connections.iter().enumerate().filter(|(_, watch)| watch.is_ready()) {
            for _ in 0..READS_MAX {
                let activity = self.take_telemetry(|telemetry, emit| telemetry.read(slot, emit));
                sum.has_heard |= activity.has_heard;
                sum.is_short |= activity.is_short;
                if !activity.has_more {
                    break;
                }
                // The outbox could not hold what further pieces may bring.
                self.commit();
            }
        }
        if listener.is_ready() {
            let activity = self.take_telemetry(Telemetry::accept);
            sum.has_heard |= activity.has_heard;
            sum.is_short |= activity.is_short;
        }
        if sum.has_heard {
            self.commit();
            self.telemetry.answer();
            self.schedule.note_telemetry(Instant::now());
        }
        sum.is_short
    }

    /// Observes the events that `read` brings, and reads the kernel's count if one is a failure.
    fn take_telemetry(
        &mut self,
        read: impl FnOnce(&mut Telemetry, &mut dyn FnMut(&Event)) -> Activity,
    ) -> Activity {
        let Self { telemetry, detector, outbox, context, .. } = self;
        let mut failed_ms = None;
        let now_ms = now_ms();
        let ended_ms = &mut self.ended_ms;
        let mut on_event = |event: &Event| {
            let time_ms = event.time_ms.unwrap_or(now_ms);
            match status_of_end(&event.kind) {
                Some(status) if status.is_failed() => failed_ms = Some(time_ms),
                Some(_) => *ended_ms = Some(time_ms),
                None => {}
            }
            detector.observe(event, now_ms, &mut |detection| outbox.keep(detection, context));
        };
        let activity = read(telemetry, &mut on_event);
        if let Some(failed_ms) = failed_ms {
            // Lambda reports some failures only in the next turn.
            if failed_ms >= self.invoked_ms {
                self.schedule.note_failed_invocation();
            }
            self.look_for_kills(failed_ms);
        }
        activity
    }

    fn read_child(&mut self, is_ready: bool) {
        let Some(mut sending) = self.sending.take() else { return };
        let has_ended = is_ready && sending.has_ended();
        if !has_ended && !self.schedule.is_send_late(Instant::now()) {
            self.sending = Some(sending);
            return;
        }
        self.schedule.note_send_end();
        if !self.outbox.end(sending, !has_ended) {
            self.schedule.note_send_failure(Instant::now());
        }
        self.save();
    }

    /// True if the kernel lacks memory or descriptors.
    // A frame of its own: it must not lie under the frames that read telemetry.
    #[inline(never)]
    fn read_next(&mut self) -> bool {
        let now = Instant::now();
        match self.api.read_next() {
            Ok(None) => {}
            Ok(Some(NextAnswer::Event(Next::Invoke { .. }))) => {
                self.schedule.note_invoke(now);
                self.invoked_ms = now_ms();
                // A kill since the last look belongs to the invocation before this one.
                let time_ms = self.ended_ms.take().unwrap_or(self.looked_ms);
                self.look_for_kills(time_ms);
                self.commit();
            }
            Ok(Some(NextAnswer::Event(Next::Shutdown { reason, deadline_ms }))) => {
                let left = deadline_ms.map(|deadline| deadline.saturating_sub(now_ms()));
                self.schedule.note_shutdown(now, reason, left.map(Duration::from_millis));
            }
            Ok(Some(NextAnswer::Event(Next::Unknown))) => {
                warn_once!("the Extensions API sent an event that is neither INVOKE nor SHUTDOWN");
                self.schedule.note_unknown_event(now);
            }
            Ok(Some(NextAnswer::Refusal(status))) => {
                warn_once!("the Extensions API answered {status}, trying again");
                self.schedule.note_api_error(now);
            }
            Ok(Some(NextAnswer::Failure)) => self.schedule.note_api_failure(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if is_shortage(&error) => {
                return error.kind() != std::io::ErrorKind::WouldBlock;
            }
            Err(error) => {
                warn_once!("lost the Extensions API, trying again: {error}");
                self.api.close();
                self.schedule.note_api_error(now);
            }
        }
        false
    }
}

/// The status of an invocation, if the event reports its end.
fn status_of_end(kind: &EventKind) -> Option<Status> {
    match kind {
        EventKind::RuntimeDone { status, .. } => Some(*status),
        // On Managed Instances nothing else reports a failure.
        EventKind::Report(report) if report.status.is_failed() => Some(report.status),
        _ => None,
    }
}
