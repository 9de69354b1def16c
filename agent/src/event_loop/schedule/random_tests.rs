//! Random lives of an agent, against what must hold in all of them.
//!
//! Times are written out here, so that a changed constant of the schedule breaks a promise.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A generator of random numbers (xorshift).
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    /// Mostly short, sometimes long.
    fn time(&mut self) -> Duration {
        let scale = [100, 20_000, 500_000, 2_500_000][self.below(4) as usize];
        Duration::from_micros(self.below(scale).into())
    }
}

/// An agent whose life is random: it does what the schedule says, and checks what must hold.
struct SimulatedAgent {
    schedule: Schedule,
    random: Xorshift,
    now: Instant,
    situation: Situation,
    has_turns: bool,
    /// When the turn that is held began.
    held_since: Option<Instant>,
    /// The invocation of the turn has failed.
    has_turn_failed: bool,
    /// The turn may be held until then.
    turn_until: Instant,
    is_sending: bool,
    is_asked: bool,
    is_settled: bool,
    /// Errors of the long poll since the last event.
    errors: u32,
    /// When the agent has to ask again, after an error or an unknown event.
    ask_at: Option<Instant>,
    deadline: Option<Instant>,
    /// When SHUTDOWN or the last telemetry arrived.
    heard_at: Instant,
    /// One in so many requests and answers of the long poll fails.
    failures: u32,
    /// One in so many events is SHUTDOWN.
    shutdowns: u32,
}

/// The agent may wake up so much later than it wants to.
const LATE_MAX: Duration = Duration::from_millis(2);

impl SimulatedAgent {
    fn new(seed: u64) -> Self {
        let mut random = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let now = Instant::now() + Duration::from_secs(3600);
        let has_turns = random.one_in(2);
        Self {
            schedule: Schedule::new(has_turns, now),
            now,
            situation: Situation::default(),
            has_turns,
            held_since: Some(now),
            has_turn_failed: false,
            turn_until: now,
            is_sending: false,
            is_asked: false,
            is_settled: false,
            errors: 0,
            ask_at: None,
            deadline: None,
            heard_at: now,
            failures: [2, 10, 100][random.below(3) as usize],
            shutdowns: [2, 10, 100][random.below(3) as usize],
            random,
        }
    }

    /// Lives until the end, or for some hundred steps.
    fn live(&mut self) {
        for _ in 0..300 {
            match self.act() {
                Some(until) => self.wait(until),
                None => return,
            }
        }
    }

    /// Does everything that is due. Returns until when to wait; `None` at the end.
    fn act(&mut self) -> Option<Option<Instant>> {
        for _ in 0..6 {
            let action = self.schedule.action(self.now, &self.situation);
            match action {
                Action::Ask => self.ask(),
                Action::Send { until } => self.send(until),
                Action::Settle(_) => self.settle(),
                Action::Wait { until } => {
                    self.check_wait(until);
                    return Some(until);
                }
                Action::End => {
                    assert!(self.is_settled && !self.is_sending);
                    let deadline = self.deadline.expect("SHUTDOWN has arrived");
                    assert!(self.now + 98 * MS <= deadline, "SHUTDOWN ends too late");
                    return None;
                }
                Action::GiveUp => return None,
            }
        }
        panic!("a busy loop: one action after the other, without any wait");
    }

    fn settle(&mut self) {
        assert!(!self.is_settled);
        let left = self.deadline.expect("SHUTDOWN has arrived").saturating_duration_since(self.now);
        let Situation { is_due, fetches_key, has_evidence, expects_an_end, is_complete, .. } =
            self.situation;
        let is_silent = !expects_an_end && self.now >= self.heard_at + 300 * MS;
        let urgent = if fetches_key { 1000 * MS } else { 500 * MS };
        let is_urgent = (is_due || has_evidence) && left <= urgent;
        assert!(is_complete || is_silent || is_urgent || left <= 150 * MS, "stops listening early");
        self.is_settled = true;
        self.schedule.note_settled();
        self.situation.has_evidence = false;
        self.situation.is_due |= self.random.one_in(3);
    }

    fn ask(&mut self) {
        assert!(self.deadline.is_none() && !self.is_asked);
        assert!(!self.has_turns || !self.is_sending, "asks in the middle of a send");
        assert!(self.ask_at.is_none_or(|at| self.now >= at), "asks during the pause");
        if let Some(since) = self.held_since.take().filter(|_| self.has_turns) {
            assert!(self.now <= since + 2000 * MS + LATE_MAX, "the turn is held for too long");
            assert!(self.now <= self.turn_until + LATE_MAX, "the turn is held without a send");
        }
        self.ask_at = None;
        if self.random.one_in(self.failures) {
            self.fail();
        } else {
            self.is_asked = true;
            self.schedule.note_asked();
        }
    }

    /// The long poll fails.
    fn fail(&mut self) {
        let pause = Duration::from_millis(10 << self.errors.min(20)).min(1000 * MS);
        self.errors += 1;
        self.is_asked = false;
        self.ask_at = Some(self.now + pause);
        self.schedule.note_api_error(self.now);
    }

    fn send(&mut self, until: Instant) {
        assert!(!self.is_sending, "two sends at once");
        assert!(self.situation.is_due && self.now < until);
        let longest = if self.situation.fetches_key { 2000 * MS } else { 1000 * MS };
        match self.deadline {
            Some(deadline) => assert!(until + 100 * MS <= deadline),
            None if self.has_turns => {
                let since = self.held_since.expect("a send outside of a turn");
                let longest = if self.has_turn_failed { 1000 * MS } else { longest };
                assert_eq!(until, since + longest);
                self.turn_until = self.turn_until.max(until);
            }
            None => assert_eq!(until, self.now + longest),
        }
        match self.random.below(8) {
            // The kernel refuses to start a process.
            0 => self.schedule.note_send_failure(self.now),
            // No detection fits into a request, and so none is left.
            1 => self.situation.is_due = false,
            _ => {
                self.is_sending = true;
                self.schedule.note_send_start(until);
            }
        }
    }

    /// Nothing is due before `until`, and something is at that time.
    fn check_wait(&mut self, until: Option<Instant>) {
        assert!(self.held_since.is_none() || self.is_sending || self.deadline.is_some());
        let is_late = self.schedule.is_send_late(self.now);
        assert!(until.is_none_or(|until| until > self.now || is_late), "no time to wait");
        let end = until.unwrap_or(self.now + Duration::from_secs(100_000));
        let span = u32::try_from((end - self.now.min(end)).as_micros() / 2).unwrap_or(u32::MAX);
        let probe = self.now + Duration::from_micros(self.random.below(span.max(1)).into()) * 2;
        if probe < end {
            let action = self.schedule.action(probe, &self.situation);
            assert_eq!(action, Action::Wait { until }, "due before the loop wakes up");
        }
        if let Some(until) = until {
            let action = self.schedule.action(until, &self.situation);
            let is_late = self.schedule.is_send_late(until);
            assert!(is_late || !matches!(action, Action::Wait { .. }), "wakes up for nothing");
        }
        if let Some(ask_at) = self.ask_at.filter(|_| self.deadline.is_none()) {
            assert!(until.is_some_and(|until| until <= ask_at), "the pause is too long");
        }
    }

    /// Waits until `until`, or until something happens before that, in the order of the event loop.
    fn wait(&mut self, until: Option<Instant>) {
        let event = self.now + self.random.time();
        self.now = until.map_or(event, |until| event.min(until.max(self.now)));
        if self.random.one_in(4) {
            self.now += Duration::from_micros(self.random.below(1000).into());
        }
        if self.random.one_in(3) {
            self.schedule.note_telemetry(self.now);
            self.heard_at = self.now;
            let Self { random, situation, .. } = self;
            situation.is_due |= random.one_in(3);
            situation.fetches_key = random.one_in(2);
            situation.has_evidence = !self.is_settled && random.one_in(3);
            situation.expects_an_end = random.one_in(2);
            situation.is_complete = random.one_in(5);
            situation.waits_for_stdout = random.one_in(5);
        }
        if self.random.one_in(10) {
            self.fail_invocation();
        }
        self.read_child();
        assert_eq!(self.schedule.expects_event(), self.is_asked && self.deadline.is_none());
        if self.schedule.expects_event() && self.random.one_in(2) {
            self.read_answer();
        }
    }

    fn fail_invocation(&mut self) {
        self.schedule.note_failed_invocation();
        if let Some(since) = self.held_since.filter(|_| self.has_turns) {
            self.has_turn_failed = true;
            self.turn_until = self.turn_until.min(self.now.max(since + 1000 * MS));
        }
    }

    fn read_child(&mut self) {
        let has_ended = self.random.one_in(3);
        if !self.is_sending || !has_ended && !self.schedule.is_send_late(self.now) {
            return;
        }
        self.is_sending = false;
        self.schedule.note_send_end();
        if !has_ended || self.random.one_in(3) {
            self.schedule.note_send_failure(self.now);
        } else {
            self.situation.is_due = self.random.one_in(4);
        }
    }

    fn read_answer(&mut self) {
        if self.random.one_in(self.failures) {
            return self.fail();
        }
        if self.random.one_in(200) {
            return self.schedule.note_api_failure();
        }
        if self.random.one_in(self.shutdowns) {
            let left = self.random.below(2500) * MS;
            let named = Some(left).filter(|_| !self.random.one_in(5));
            // With less than 100 ms, the agent settles and ends at once.
            let left = named.unwrap_or(2000 * MS).clamp(100 * MS, 2000 * MS);
            self.deadline = Some(self.now + left);
            self.heard_at = self.now;
            return self.schedule.note_shutdown(self.now, ShutdownReason::Spindown, named);
        }
        self.is_asked = false;
        self.errors = 0;
        if self.random.one_in(6) {
            self.ask_at = Some(self.now + 10 * MS);
            self.schedule.note_unknown_event(self.now);
        } else {
            self.held_since = Some(self.now);
            self.has_turn_failed = false;
            self.turn_until = self.now;
            self.schedule.note_invoke(self.now);
        }
    }
}

#[test]
fn random_lives_keep_every_promise() {
    for seed in 1..=20_000 {
        let result = std::panic::catch_unwind(|| SimulatedAgent::new(seed).live());
        assert!(result.is_ok(), "seed {seed}");
    }
}
