//! The one loop, and the only place that waits: for the next event, for telemetry, for a child.
//!
//! Goes in: a registered extension, a bound listener. Comes out: the exit code, after SHUTDOWN.
//! It allocates nothing, starts no thread, and no error of a system call ends it.
//!
//! Whoever has been given an event and has not asked for the next one *holds the turn*: Lambda
//! freezes the environment only when nobody does. So the next event is asked for at once, unless a
//! detection waits for a network, which only works while the environment is not frozen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{error, info};
use oom_witness_core::extensions::Next;
use oom_witness_core::{Detector, Event, EventKind, ShutdownReason, Source, Status};

use crate::delivery::outbox::{BODY_SIZE, Outbox, Sending, Tally};
use crate::error::Error;
use crate::journal::{Facts, Journal};
use crate::kernel::KernelCounter;
use crate::lambda::extensions_api::{Answered, ExtensionsApi};
use crate::lambda::telemetry_api::{CONNECTIONS_MAX, Telemetry, Turn};
use crate::sys::{self, SHORTAGE_PAUSE, Stream, Watch, is_shortage};
use crate::warn_once;

/// The longest that a send may hold the turn. A SHUTDOWN that comes meanwhile still finds us.
const SEND_MAX: Duration = Duration::from_secs(1);

/// What is left of the time before SHUTDOWN's deadline when a send is given up.
const SEND_RESERVE: Duration = Duration::from_millis(100);

/// Between two tries of a send in SHUTDOWN.
const SEND_PAUSE: Duration = Duration::from_millis(100);

/// The silence after which nothing more is expected in SHUTDOWN.
const SILENCE: Duration = Duration::from_millis(300);

/// What is left of the time before SHUTDOWN's deadline when listening ends.
const LISTEN_RESERVE: Duration = Duration::from_millis(150);

/// With less than this left in SHUTDOWN, what waits to be sent does not wait for more evidence.
const SEND_FIRST: Duration = Duration::from_millis(500);

/// Lambda gives an external extension two seconds to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// Pieces of one connection that are read before the others have their turn.
const READS_MAX: usize = 16;

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// All that the loop works with.
pub(crate) struct EventLoop<'a> {
    pub(crate) api: &'a mut ExtensionsApi,
    pub(crate) telemetry: &'a mut Telemetry,
    pub(crate) detector: &'a mut Detector,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) journal: &'a mut Journal,
    pub(crate) kernel: &'a mut KernelCounter,
    pub(crate) facts: Facts,
    /// Time of the last invocation's end, if it has been told since its INVOKE.
    pub(crate) ended_ms: Option<u64>,
    /// When the kernel's count was read last.
    pub(crate) looked_ms: u64,
    pub(crate) source: Source<'a>,
    /// On Managed Instances nothing is frozen, and nobody holds a turn.
    pub(crate) has_turns: bool,
}

/// Where the loop stands.
struct Progress {
    long_poll: LongPoll,
    /// Before the next try, after an error of the long poll.
    pause: Duration,
    /// Until when this turn may be held, and sends be started outside of turns: not before.
    turn_ends: Instant,
    sending: Option<(Sending, Instant)>,
    /// A send failed: the next one starts then, or at the next turn.
    send_after: Option<Instant>,
    shutdown: Option<Shutdown>,
    failed: bool,
}

enum LongPoll {
    Asked,
    Held,
    Resting(Instant),
}

struct Shutdown {
    reason: ShutdownReason,
    deadline: Instant,
    heard: Instant,
    is_settled: bool,
}

/// What decides how long SHUTDOWN listens.
struct Waits {
    /// Something waits for a network, or would if nothing more came.
    must_send: bool,
    /// An attempt runs whose end may still be told.
    expects_an_end: bool,
}

impl EventLoop<'_> {
    /// Runs until SHUTDOWN, or until the Extensions API says that all is lost.
    // A function of its own: `cargo layer` puts what it can reach side by side.
    #[inline(never)]
    pub(crate) fn run(mut self) -> u8 {
        let mut progress = Progress::new();
        sys::touch_stack();
        self.look_for_kills_before_restart();
        self.commit(false);
        sys::give_back_start();
        let code = loop {
            if let Some(code) = self.act(&mut progress) {
                break code;
            }
            self.wait(&mut progress);
        };
        self.facts.is_running = false;
        self.journal.save(self.detector, self.outbox, self.facts);
        self.say_goodbye();
        code
    }

    /// Does what is due now. An exit code ends the loop.
    fn act(&mut self, progress: &mut Progress) -> Option<u8> {
        if progress.failed {
            self.settle(ShutdownReason::Other);
            error!("{}", Error::Unrecoverable);
            return Some(crate::FAILURE);
        }
        let now = Instant::now();
        if progress.shutdown.is_some() {
            return self.act_in_shutdown(progress, now).then_some(0);
        }
        if self.may_send(progress, now) {
            let deadline = if self.has_turns { progress.turn_ends } else { now + SEND_MAX };
            self.start_send(progress, deadline, false);
        }
        let keeps_turn = self.has_turns && progress.sending.is_some();
        let asks = match progress.long_poll {
            LongPoll::Asked => false,
            LongPoll::Held => !keeps_turn && !self.may_send(progress, now),
            LongPoll::Resting(until) => now >= until,
        };
        if asks {
            match self.api.ask_next() {
                Ok(()) => progress.long_poll = LongPoll::Asked,
                Err(error) => {
                    warn_once!("cannot ask for the next event, trying again: {error}");
                    progress.rest(now);
                }
            }
        }
        None
    }

    fn may_send(&self, progress: &Progress, now: Instant) -> bool {
        let is_allowed = if self.has_turns {
            matches!(progress.long_poll, LongPoll::Held)
                && progress.send_after.is_none()
                && now < progress.turn_ends
        } else {
            progress.send_after.is_none_or(|after| now >= after)
        };
        is_allowed && progress.sending.is_none() && self.outbox.is_due(false)
    }

    /// True when SHUTDOWN is done.
    fn act_in_shutdown(&mut self, progress: &mut Progress, now: Instant) -> bool {
        let must_send = self.must_send();
        let Some(shutdown) = &mut progress.shutdown else { return false };
        let left = shutdown.deadline.saturating_duration_since(now);
        if !shutdown.is_settled {
            let all_known =
                self.detector.is_settled(shutdown.reason) && !self.telemetry.is_receiving();
            let silent = now.saturating_duration_since(shutdown.heard) >= SILENCE
                && !self.detector.expects_an_end();
            let must_send = left < SEND_FIRST && must_send;
            if all_known || silent || must_send || left <= LISTEN_RESERVE {
                shutdown.is_settled = true;
                let reason = shutdown.reason;
                self.settle(reason);
            }
        }
        let deadline = shutdown.deadline.checked_sub(SEND_RESERVE).unwrap_or(now);
        let is_settled = shutdown.is_settled;
        let in_time = now < deadline;
        let rested = progress.send_after.is_none_or(|after| now >= after);
        if in_time && rested && progress.sending.is_none() {
            self.start_send(progress, deadline, true);
        }
        let is_done = self.outbox.is_sent() && !self.outbox.waits_for_stdout();
        is_settled && progress.sending.is_none() && (is_done || !in_time)
    }

    /// True if something waits for a network, or would if nothing more came.
    fn must_send(&self) -> bool {
        !self.outbox.is_sent() || self.outbox.has_network() && self.detector.has_waiting_evidence()
    }

    // A frame of its own: its buffer is on the stack only as long as it is needed.
    #[cold]
    #[inline(never)]
    fn start_send(&mut self, progress: &mut Progress, deadline: Instant, in_shutdown: bool) {
        let mut buffer = [0; BODY_SIZE];
        let Self { outbox, source, .. } = self;
        let begun = outbox.begin_send(in_shutdown, source, now_ms(), &mut buffer);
        self.journal.save(self.detector, self.outbox, self.facts);
        let Some((sink, length)) = begun else { return };
        match self.outbox.start(sink, buffer.get(..length).unwrap_or_default()) {
            Ok(sending) => progress.sending = Some((sending, deadline)),
            Err(error) => {
                warn_once!("cannot start a send: {error}");
                progress.send_failed();
            }
        }
    }

    fn settle(&mut self, reason: ShutdownReason) {
        self.look_for_kills(now_ms());
        let Self { detector, outbox, source, .. } = self;
        detector.shutdown(reason, &mut |detection| outbox.keep(detection, source));
        self.commit(true);
    }

    /// Asks the kernel whether it has killed a process since it was asked last; if so, that was about
    /// `time_ms`.
    fn look_for_kills(&mut self, time_ms: u64) {
        let Self { detector, outbox, source, kernel, .. } = self;
        if kernel.has_risen() {
            detector.kernel_kill(time_ms, &mut |detection| outbox.keep(detection, source));
        }
        self.facts.kills = self.kernel.count();
        self.looked_ms = now_ms();
    }

    /// The same for what happened before this process began.
    fn look_for_kills_before_restart(&mut self) {
        let Self { detector, outbox, source, kernel, .. } = self;
        self.looked_ms = now_ms();
        if kernel.has_risen() {
            detector.kernel_kill_before_restart(self.looked_ms, &mut |detection| {
                outbox.keep(detection, source);
            });
        }
        self.facts.kills = self.kernel.count();
    }

    /// Keeps what has become known, then writes what can be written at once: in this order, so that
    /// no line is written a second time after a restart.
    fn commit(&mut self, in_shutdown: bool) {
        self.facts.is_in_doubt = self.telemetry.is_in_doubt();
        let begins = self.outbox.begin_lines(in_shutdown);
        self.journal.save(self.detector, self.outbox, self.facts);
        if begins {
            self.outbox.write_lines(&self.source);
            self.journal.save(self.detector, self.outbox, self.facts);
        }
    }

    /// Waits for the next thing to happen, and takes it in.
    fn wait(&mut self, progress: &mut Progress) {
        let mut watches = [Watch::NONE; 4 + CONNECTIONS_MAX];
        let now = Instant::now();
        let full_until = self.telemetry.full_until().filter(|until| now < *until);
        {
            let [stdout, next, child, listener, connections @ ..] = &mut watches;
            if self.outbox.waits_for_stdout() {
                *stdout = Stream::Stdout.writable();
            }
            if matches!(progress.long_poll, LongPoll::Asked) && progress.shutdown.is_none() {
                *next = self.api.socket().map_or(Watch::NONE, Watch::readable);
            }
            if let Some((sending, _)) = &progress.sending {
                *child = Watch::readable(sending.output());
            }
            if full_until.is_none() {
                *listener = self.telemetry.listener().map_or(Watch::NONE, Watch::readable);
            }
            for (watch, socket) in connections.iter_mut().zip(self.telemetry.sockets()) {
                *watch = socket.map_or(Watch::NONE, Watch::readable);
            }
        }
        let in_shutdown = progress.shutdown.is_some();
        let waits = Waits {
            must_send: if in_shutdown { self.must_send() } else { !self.outbox.is_sent() },
            expects_an_end: in_shutdown && self.detector.expects_an_end(),
        };
        let timeout = progress.timeout(&waits, full_until);
        if let Err(error) = sys::poll(&mut watches, timeout) {
            if error.kind() != std::io::ErrorKind::Interrupted {
                sys::pause(SHORTAGE_PAUSE);
            }
            return;
        }
        let [stdout, next, child, listener, connections @ ..] = &watches;
        if stdout.is_ready() {
            self.outbox.stdout_has_room();
            self.commit(progress.shutdown.is_some());
        }
        // Telemetry first: what was there before SHUTDOWN is read before SHUTDOWN.
        let mut is_short = self.read_telemetry(progress, *listener, connections);
        self.read_child(progress, child.is_ready());
        if next.is_ready() {
            is_short |= self.read_next(progress);
        }
        if is_short {
            sys::pause(SHORTAGE_PAUSE);
        }
    }

    /// True if the kernel is short of something.
    fn read_telemetry(
        &mut self,
        progress: &mut Progress,
        listener: Watch,
        ready: &[Watch],
    ) -> bool {
        let mut sum = Turn::default();
        for (slot, _) in ready.iter().enumerate().filter(|(_, watch)| watch.is_ready()) {
            for _ in 0..READS_MAX {
                let turn = self.take_telemetry(|telemetry, emit| telemetry.read(slot, emit));
                sum.heard |= turn.heard;
                sum.is_short |= turn.is_short;
                if !turn.has_more {
                    break;
                }
                // Before more is found than can wait.
                self.commit(progress.shutdown.is_some());
            }
        }
        if listener.is_ready() {
            let turn = self.take_telemetry(Telemetry::accept);
            sum.heard |= turn.heard;
            sum.is_short |= turn.is_short;
        }
        if sum.heard {
            self.commit(progress.shutdown.is_some());
            self.telemetry.answer();
        }
        if let Some(shutdown) = progress.shutdown.as_mut().filter(|_| sum.heard) {
            shutdown.heard = Instant::now();
        }
        sum.is_short
    }

    /// Has `read` bring events, and looks at the kernel's counter if one tells of a failure.
    fn take_telemetry(
        &mut self,
        read: impl FnOnce(&mut Telemetry, &mut dyn FnMut(&Event)) -> Turn,
    ) -> Turn {
        let Self { telemetry, detector, outbox, source, .. } = self;
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
            detector.observe(event, now_ms, &mut |detection| outbox.keep(detection, source));
        };
        let turn = read(telemetry, &mut on_event);
        if let Some(failed_ms) = failed_ms {
            self.look_for_kills(failed_ms);
        }
        turn
    }

    fn read_child(&mut self, progress: &mut Progress, is_ready: bool) {
        let Some((mut sending, deadline)) = progress.sending.take() else { return };
        let has_ended = is_ready && sending.has_ended();
        let is_late = Instant::now() >= deadline;
        if !has_ended && !is_late {
            progress.sending = Some((sending, deadline));
        } else {
            if !self.outbox.end(sending, !has_ended) {
                progress.send_failed();
            }
            self.journal.save(self.detector, self.outbox, self.facts);
        }
    }

    /// True if the kernel is short of something.
    // Not a part of the loop's own frame, under which telemetry is read.
    #[inline(never)]
    fn read_next(&mut self, progress: &mut Progress) -> bool {
        let now = Instant::now();
        match self.api.read_next() {
            Ok(None) => {}
            Ok(Some(Answered::Event(Next::Invoke { .. }))) => {
                progress.hold(now);
                // Whoever was killed since the last look belongs to the invocation before.
                let time_ms = self.ended_ms.take().unwrap_or(self.looked_ms);
                self.look_for_kills(time_ms);
                self.commit(false);
            }
            Ok(Some(Answered::Event(Next::Shutdown { reason, deadline_ms }))) => {
                progress.shut_down(now, reason, deadline_ms);
            }
            Ok(Some(Answered::Event(Next::Unknown))) => {
                warn_once!("the Extensions API sent an event that is neither INVOKE nor SHUTDOWN");
                // It is no error, and so the pause does not grow: one event cannot hold up the next.
                progress.pause = PAUSE_MIN;
                progress.long_poll = LongPoll::Resting(now + PAUSE_MIN);
            }
            Ok(Some(Answered::Refused(status))) => {
                warn_once!("the Extensions API answered {status}, trying again");
                progress.rest(now);
            }
            Ok(Some(Answered::Unrecoverable)) => progress.failed = true,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if is_shortage(&error) => {
                return error.kind() != std::io::ErrorKind::WouldBlock;
            }
            Err(error) => {
                warn_once!("lost the Extensions API, trying again: {error}");
                self.api.close();
                progress.rest(now);
            }
        }
        false
    }

    // Not a part of the loop's own frame.
    #[cold]
    #[inline(never)]
    fn say_goodbye(&self) {
        let found = self.detector.counters();
        let Tally { written, unwritten, sent, unknown, dropped, overflowed, failed } =
            self.outbox.tally();
        let skipped = self.telemetry.skipped();
        // By name, as the layer's build leaves what is derived for `{:?}` out.
        info!(
            "ends: Counters {{ detections: {}, evicted: {}, guessed: {}, logs_dropped: {}, \
             extensions_crashed: {} }}, Tally {{ written: {written}, unwritten: {unwritten}, \
             sent: {sent}, unknown: {unknown}, dropped: {dropped}, overflowed: {overflowed}, \
             failed: {failed} }}, Skipped {{ unknown: {}, malformed: {}, resynchronised: {}, \
             distrusted: {} }}, connections given up: {}, requests not Lambda's: {}",
            found.detections,
            found.evicted,
            found.guessed,
            found.logs_dropped,
            found.extensions_crashed,
            skipped.unknown,
            skipped.malformed,
            skipped.resynchronised,
            skipped.distrusted,
            self.telemetry.evicted,
            self.telemetry.strangers
        );
    }
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            long_poll: LongPoll::Held,
            pause: PAUSE_MIN,
            turn_ends: now + SEND_MAX,
            sending: None,
            send_after: None,
            shutdown: None,
            failed: false,
        }
    }

    fn hold(&mut self, now: Instant) {
        self.long_poll = LongPoll::Held;
        self.pause = PAUSE_MIN;
        self.turn_ends = now + SEND_MAX;
        self.send_after = None;
    }

    fn rest(&mut self, now: Instant) {
        self.long_poll = LongPoll::Resting(now + self.pause);
        self.pause = PAUSE_MAX.min(self.pause * 2);
    }

    fn send_failed(&mut self) {
        let pause = if self.shutdown.is_some() { SEND_PAUSE } else { SEND_MAX };
        self.send_after = Some(Instant::now() + pause);
    }

    fn shut_down(&mut self, now: Instant, reason: ShutdownReason, deadline_ms: Option<u64>) {
        let left = deadline_ms.map(|deadline| deadline.saturating_sub(now_ms()));
        let left = left.map_or(SHUTDOWN_MAX, Duration::from_millis).min(SHUTDOWN_MAX);
        let deadline = now + left;
        if let Some((_, until)) = &mut self.sending {
            *until = (*until).min(deadline.checked_sub(SEND_RESERVE).unwrap_or(now));
        }
        self.send_after = None;
        self.shutdown = Some(Shutdown { reason, deadline, heard: now, is_settled: false });
    }

    /// How long poll(2) may wait, `until` at the longest; -1 is for ever.
    fn timeout(&self, waits: &Waits, mut until: Option<Instant>) -> i32 {
        let now = Instant::now();
        let mut wake = |at: Option<Instant>| {
            until = match (until, at) {
                (Some(until), Some(at)) => Some(until.min(at)),
                (until, at) => until.or(at),
            };
        };
        match &self.sending {
            Some((_, deadline)) => wake(Some(*deadline)),
            // Once it has passed, whoever may send has done so.
            None if waits.must_send => wake(self.send_after.filter(|after| *after > now)),
            None => {}
        }
        match &self.shutdown {
            Some(shutdown) if shutdown.is_settled => {
                wake(shutdown.deadline.checked_sub(SEND_RESERVE));
            }
            Some(shutdown) => {
                wake(shutdown.deadline.checked_sub(LISTEN_RESERVE));
                if !waits.expects_an_end {
                    wake(Some(shutdown.heard + SILENCE));
                }
                if waits.must_send {
                    wake(shutdown.deadline.checked_sub(SEND_FIRST).filter(|at| *at > now));
                }
            }
            None => {
                if let LongPoll::Resting(until) = self.long_poll {
                    wake(Some(until));
                }
            }
        }
        let Some(until) = until else { return -1 };
        let left = until.saturating_duration_since(now);
        // Rounded up: waking a moment early would turn the loop once for nothing.
        i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX)
    }
}

/// How an invocation ended, if the event says that it did.
fn status_of_end(kind: &EventKind) -> Option<Status> {
    match kind {
        EventKind::RuntimeDone { status, .. } => Some(*status),
        // Managed Instances have no other word of a failure.
        EventKind::Report(report) if report.status.is_failed() => Some(report.status),
        _ => None,
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
