//! The event loop's rules: what to do next, and until when to wait.
//!
//! In: what has happened, the [`Situation`], and the time. Out: an [`Action`]. It does no I/O and
//! reads no clock, so the same calls at the same times always give the same actions.
//!
//! An extension *holds the turn* from the moment it receives an event until it asks for the next
//! one. Lambda freezes the environment only when no extension holds the turn. So the loop asks for
//! the next event at once, unless a detection waits for a network, which works only while the
//! environment is not frozen. On Managed Instances nothing is frozen, and there are no turns.

use std::time::{Duration, Instant};

use oom_witness_core::ShutdownReason;

/// The longest time that a send holds the turn. It is so short that a SHUTDOWN that arrives
/// meanwhile still leaves time to act.
pub(crate) const SEND_MAX: Duration = Duration::from_secs(1);

/// The same for a send that first fetches a key from AWS, and so makes two connections. Once the
/// invocation of the turn has failed, it is [`SEND_MAX`] again: Lambda gives SHUTDOWN two seconds,
/// and they may run already.
pub(crate) const KEY_SEND_MAX: Duration = Duration::from_secs(2);

/// A send in SHUTDOWN is given up this long before the deadline.
const SEND_RESERVE: Duration = Duration::from_millis(100);

/// The pause between a failed send and the next try, in SHUTDOWN.
const SEND_PAUSE: Duration = Duration::from_millis(100);

/// After this long without telemetry in SHUTDOWN, nothing more is expected.
const SILENCE: Duration = Duration::from_millis(300);

/// Listening in SHUTDOWN ends this long before the deadline.
const LISTEN_RESERVE: Duration = Duration::from_millis(150);

/// When less than this is left in SHUTDOWN, sending has priority over listening.
const SEND_FIRST: Duration = Duration::from_millis(500);

/// The same for a send that first fetches a key.
const KEY_SEND_FIRST: Duration = Duration::from_secs(1);

/// Lambda gives an external extension two seconds to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// The pause after the first error of the long poll. It doubles with each further error.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause after an error of the long poll.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the loop does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Ask for the next event.
    Ask,
    /// SHUTDOWN is done: end with success.
    End,
    /// The Extensions API has failed for good: settle, and end with an error.
    GiveUp,
    /// Start a send, which is given up at this time.
    Send { until: Instant },
    /// Judge every attempt now, as nothing more is expected in SHUTDOWN.
    Settle(ShutdownReason),
    /// Wait until something happens, at most until this time.
    Wait { until: Option<Instant> },
}

/// What the rules need to know of the other modules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Situation {
    /// A detection waits for a sink that may be tried now. In SHUTDOWN that is each network sink.
    pub(crate) is_due: bool,
    /// The next send first fetches a key from AWS.
    pub(crate) fetches_key: bool,
    /// SHUTDOWN only: evidence waits, and would be sent to a network if nothing more came.
    pub(crate) has_evidence: bool,
    /// SHUTDOWN only: Lambda may still report the end of an attempt.
    pub(crate) expects_an_end: bool,
    /// SHUTDOWN only: the end of every attempt is known, and no request is being received.
    pub(crate) is_complete: bool,
    /// SHUTDOWN only: a line waits until stdout has room.
    pub(crate) waits_for_stdout: bool,
}

/// Where the loop stands.
pub(crate) struct Schedule {
    has_turns: bool,
    long_poll: LongPoll,
    /// The pause after the next error of the long poll.
    pause: Duration,
    turn_began: Instant,
    /// The invocation of the current turn has failed.
    has_turn_failed: bool,
    /// A send runs, and is given up at this time.
    send_until: Option<Instant>,
    /// A send has failed. The next one starts at this time; on demand not before the next turn,
    /// which resets it.
    send_after: Option<Instant>,
    shutdown: Option<Shutdown>,
    has_failed: bool,
}

enum LongPoll {
    /// The agent has asked for the next event.
    Pending,
    /// An event has arrived, and the agent has not asked for the next one.
    Answered,
    /// The agent asks again at this time.
    Paused(Instant),
}

struct Shutdown {
    reason: ShutdownReason,
    /// From this time on, what can be sent is not held back for more evidence.
    send_first_at: Instant,
    /// The same if a send first fetches a key.
    key_send_first_at: Instant,
    listen_until: Instant,
    send_until: Instant,
    /// When telemetry arrived last.
    heard_at: Instant,
    /// Every attempt has been judged.
    is_settled: bool,
}

impl Schedule {
    /// The schedule of an agent that has registered, and so holds its first turn from `now` on.
    pub(crate) fn new(has_turns: bool, now: Instant) -> Self {
        Self {
            has_turns,
            long_poll: LongPoll::Answered,
            pause: PAUSE_MIN,
            turn_began: now,
            has_turn_failed: false,
            send_until: None,
            send_after: None,
            shutdown: None,
            has_failed: false,
        }
    }

    /// What is due at `now`. The caller does it, notes it, and asks again until it has to wait.
    pub(crate) fn action(&self, now: Instant, situation: &Situation) -> Action {
        if self.has_failed {
            return Action::GiveUp;
        }
        if let Some(shutdown) = &self.shutdown {
            return self.action_in_shutdown(shutdown, now, situation);
        }
        if self.may_send(now, situation) {
            return Action::Send { until: self.send_until(now, situation) };
        }
        let is_held_back = self.has_turns && self.send_until.is_some();
        let (asks, ask_at) = match self.long_poll {
            LongPoll::Pending => (false, None),
            LongPoll::Answered => (!is_held_back, None),
            LongPoll::Paused(until) => (now >= until, Some(until)),
        };
        if asks {
            return Action::Ask;
        }
        // On demand only the next turn lets a send start.
        let retry_at = self.send_after.filter(|_| situation.is_due && !self.has_turns);
        Action::Wait { until: earliest(self.send_until.or(retry_at), ask_at) }
    }

    /// Until when a send may run that starts now. On demand that is how long it may hold the turn.
    fn send_until(&self, now: Instant, situation: &Situation) -> Instant {
        let since = if self.has_turns { self.turn_began } else { now };
        let is_longer = situation.fetches_key && !self.has_turn_failed;
        since + if is_longer { KEY_SEND_MAX } else { SEND_MAX }
    }

    fn may_send(&self, now: Instant, situation: &Situation) -> bool {
        let holds_turn = matches!(self.long_poll, LongPoll::Answered);
        (holds_turn || !self.has_turns)
            && now < self.send_until(now, situation)
            && situation.is_due
            && self.send_until.is_none()
            && self.has_rested(now)
    }

    /// True if no failed send holds up the next one.
    fn has_rested(&self, now: Instant) -> bool {
        self.send_after.is_none_or(|after| now >= after)
    }

    fn action_in_shutdown(
        &self,
        shutdown: &Shutdown,
        now: Instant,
        situation: &Situation,
    ) -> Action {
        let Situation {
            is_due,
            fetches_key,
            has_evidence,
            expects_an_end,
            is_complete,
            waits_for_stdout,
        } = *situation;
        let silent_at = Some(shutdown.heard_at + SILENCE).filter(|_| !expects_an_end);
        let send_first_at =
            if fetches_key { shutdown.key_send_first_at } else { shutdown.send_first_at };
        let send_first_at = Some(send_first_at).filter(|_| is_due || has_evidence);
        let settle_at = earliest(Some(shutdown.listen_until), earliest(silent_at, send_first_at));
        let is_settle_due = is_complete || settle_at.is_some_and(|at| now >= at);
        if !shutdown.is_settled && is_settle_due {
            return Action::Settle(shutdown.reason);
        }
        let is_in_time = now < shutdown.send_until;
        let is_sending = self.send_until.is_some();
        if is_in_time && is_due && !is_sending && self.has_rested(now) {
            return Action::Send { until: shutdown.send_until };
        }
        let is_done = !is_due && !waits_for_stdout;
        if shutdown.is_settled && !is_sending && (is_done || !is_in_time) {
            return Action::End;
        }
        let end_at = if shutdown.is_settled { Some(shutdown.send_until) } else { settle_at };
        let retry_at = self.send_after.filter(|_| is_due);
        Action::Wait { until: earliest(self.send_until.or(retry_at), end_at) }
    }

    /// The request for the next event has been sent.
    pub(crate) fn note_asked(&mut self) {
        self.long_poll = LongPoll::Pending;
    }

    /// INVOKE has arrived: a turn begins.
    pub(crate) fn note_invoke(&mut self, now: Instant) {
        self.long_poll = LongPoll::Answered;
        self.pause = PAUSE_MIN;
        self.turn_began = now;
        self.has_turn_failed = false;
        self.send_after = None;
    }

    /// The invocation of the current turn has failed, so SHUTDOWN may come next.
    pub(crate) fn note_failed_invocation(&mut self) {
        if self.has_turns && !self.in_shutdown() {
            self.has_turn_failed = true;
            let at_most = self.turn_began + SEND_MAX;
            self.send_until = self.send_until.map(|until| until.min(at_most));
        }
    }

    /// An event of an unknown type has arrived. It is no error, so the pause does not grow: a
    /// series of such events must not hold up an INVOKE.
    pub(crate) fn note_unknown_event(&mut self, now: Instant) {
        self.pause = PAUSE_MIN;
        self.long_poll = LongPoll::Paused(now + PAUSE_MIN);
    }

    /// Asking for the next event, or its answer, has failed.
    pub(crate) fn note_api_error(&mut self, now: Instant) {
        self.long_poll = LongPoll::Paused(now + self.pause);
        self.pause = PAUSE_MAX.min(self.pause * 2);
    }

    /// The Extensions API has said that the environment is lost.
    pub(crate) fn note_api_failure(&mut self) {
        self.has_failed = true;
    }

    /// SHUTDOWN has arrived. `left` is the time until its deadline, if it names one.
    pub(crate) fn note_shutdown(
        &mut self,
        now: Instant,
        reason: ShutdownReason,
        left: Option<Duration>,
    ) {
        let left = left.map_or(SHUTDOWN_MAX, |left| left.min(SHUTDOWN_MAX));
        let at_most = |reserve| now + left.saturating_sub(reserve);
        let send_until = at_most(SEND_RESERVE);
        self.send_until = self.send_until.map(|until| until.min(send_until));
        self.send_after = None;
        self.shutdown = Some(Shutdown {
            reason,
            send_first_at: at_most(SEND_FIRST),
            key_send_first_at: at_most(KEY_SEND_FIRST),
            listen_until: at_most(LISTEN_RESERVE),
            send_until,
            heard_at: now,
            is_settled: false,
        });
    }

    /// Telemetry has arrived.
    pub(crate) fn note_telemetry(&mut self, now: Instant) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.heard_at = now;
        }
    }

    /// Every attempt has been judged.
    pub(crate) fn note_settled(&mut self) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.is_settled = true;
        }
    }

    /// A send has started.
    pub(crate) fn note_send_start(&mut self, until: Instant) {
        self.send_until = Some(until);
    }

    /// The send that ran has ended, or has been given up.
    pub(crate) fn note_send_end(&mut self) {
        self.send_until = None;
    }

    /// A send could not start, or the sink has not taken what it was sent.
    pub(crate) fn note_send_failure(&mut self, now: Instant) {
        let pause = if self.in_shutdown() { SEND_PAUSE } else { SEND_MAX };
        self.send_after = Some(now + pause);
    }

    pub(crate) const fn in_shutdown(&self) -> bool {
        self.shutdown.is_some()
    }

    /// True if no invocation follows: whatever waits is tried a last time.
    pub(crate) const fn is_ending(&self) -> bool {
        self.in_shutdown() || self.has_failed
    }

    /// The reason of SHUTDOWN, once it has arrived.
    pub(crate) fn shutdown_reason(&self) -> Option<ShutdownReason> {
        self.shutdown.as_ref().map(|shutdown| shutdown.reason)
    }

    /// True if an answer of the Extensions API is to be read as soon as it arrives.
    pub(crate) const fn expects_event(&self) -> bool {
        matches!(self.long_poll, LongPoll::Pending) && !self.in_shutdown()
    }

    /// True if the send that runs is to be given up.
    pub(crate) fn is_send_late(&self, now: Instant) -> bool {
        self.send_until.is_some_and(|until| now >= until)
    }
}

/// The earlier of two times, either of which may be never (`None`).
pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// `until` as the timeout of poll(2), where -1 is for ever.
pub(crate) fn timeout_ms(now: Instant, until: Option<Instant>) -> i32 {
    let Some(until) = until else { return -1 };
    let left = until.saturating_duration_since(now);
    // Rounded up: poll(2) must not end a moment early, with nothing to do.
    i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
