//! Each rule of the schedule, then random lives against what must hold in all of them.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Nothing waits, and nothing is expected.
const QUIET: Situation = Situation {
    is_due: false,
    has_evidence: false,
    expects_an_end: false,
    is_complete: false,
    waits_for_stdout: false,
};

const DUE: Situation = Situation { is_due: true, ..QUIET };

const END_EXPECTED: Situation = Situation { expects_an_end: true, ..QUIET };

/// A schedule on demand, at the start of a turn.
fn on_demand() -> (Schedule, Instant) {
    let start = Instant::now();
    (Schedule::new(true, start), start)
}

/// A schedule on Managed Instances, where the long poll is pending.
fn managed() -> (Schedule, Instant) {
    let start = Instant::now();
    let mut schedule = Schedule::new(false, start);
    schedule.note_asked();
    (schedule, start)
}

/// A SHUTDOWN that arrives at the returned time, with `left_ms` until its deadline.
fn shutdown(left_ms: u32) -> (Schedule, Instant) {
    let (mut schedule, start) = on_demand();
    schedule.note_asked();
    schedule.note_shutdown(start, ShutdownReason::Spindown, Some(left_ms * MS));
    (schedule, start)
}

fn settle() -> Action {
    Action::Settle(ShutdownReason::Spindown)
}

fn wait_until(until: Instant) -> Action {
    Action::Wait { until: Some(until) }
}

const WAIT: Action = Action::Wait { until: None };

/// Expects that nothing is due until `at`, and that the action is due at that time.
#[track_caller]
fn check_due(schedule: &Schedule, now: Instant, situation: &Situation, at: Instant, due: Action) {
    assert_eq!(schedule.action(now, situation), wait_until(at));
    let moment = Duration::from_nanos(1);
    assert_eq!(schedule.action(at.checked_sub(moment).unwrap(), situation), wait_until(at));
    assert_eq!(schedule.action(at, situation), due);
}

#[test]
fn the_next_event_is_asked_for_at_once() {
    let (mut schedule, start) = on_demand();
    assert_eq!(schedule.action(start, &QUIET), Action::Ask);
    schedule.note_asked();
    assert_eq!(schedule.action(start, &QUIET), WAIT);
    assert!(schedule.expects_event());
    schedule.note_invoke(start + 5 * MS);
    assert!(!schedule.expects_event());
    assert_eq!(schedule.action(start + 5 * MS, &QUIET), Action::Ask);
}

#[test]
fn a_send_holds_the_turn_until_it_ends() {
    let (mut schedule, start) = on_demand();
    let until = start + 1000 * MS;
    assert_eq!(schedule.action(start, &DUE), Action::Send { until });
    schedule.note_send_start(until);
    assert_eq!(schedule.action(start + MS, &DUE), wait_until(until));
    schedule.note_send_end();
    assert_eq!(schedule.action(start + 2 * MS, &DUE), Action::Send { until });
    assert_eq!(schedule.action(start + 2 * MS, &QUIET), Action::Ask);
}

#[test]
fn a_send_is_late_one_second_after_the_turn_began() {
    let (mut schedule, start) = on_demand();
    schedule.note_invoke(start + 100 * MS);
    let until = start + 1100 * MS;
    assert_eq!(schedule.action(start + 900 * MS, &DUE), Action::Send { until });
    schedule.note_send_start(until);
    assert!(!schedule.is_send_late(start + 1099 * MS));
    assert!(schedule.is_send_late(until));
    schedule.note_send_end();
    assert!(!schedule.is_send_late(until));
    assert_eq!(schedule.action(until, &DUE), Action::Ask, "the time for sends is over");
}

#[test]
fn after_a_failed_send_the_next_one_starts_in_the_next_turn() {
    let (mut schedule, start) = on_demand();
    schedule.note_send_failure(start);
    assert_eq!(schedule.action(start, &DUE), Action::Ask);
    schedule.note_asked();
    assert_eq!(schedule.action(start + 10_000 * MS, &DUE), WAIT, "no send outside of a turn");
    let next = start + 10 * MS;
    schedule.note_invoke(next);
    assert_eq!(schedule.action(next, &DUE), Action::Send { until: next + 1000 * MS });
}

#[test]
fn without_turns_a_send_runs_beside_the_long_poll() {
    let start = Instant::now();
    let mut schedule = Schedule::new(false, start);
    let until = start + 1000 * MS;
    assert_eq!(schedule.action(start, &DUE), Action::Send { until });
    schedule.note_send_start(until);
    assert_eq!(schedule.action(start, &DUE), Action::Ask);
    schedule.note_asked();
    assert_eq!(schedule.action(start, &DUE), wait_until(until));
    schedule.note_send_end();
    let later = start + 5000 * MS;
    assert_eq!(schedule.action(later, &DUE), Action::Send { until: later + 1000 * MS });
}

#[test]
fn without_turns_a_failed_send_is_repeated_after_a_second() {
    let (mut schedule, start) = managed();
    schedule.note_send_failure(start);
    let again = start + 1000 * MS;
    check_due(&schedule, start, &DUE, again, Action::Send { until: again + 1000 * MS });
    assert_eq!(schedule.action(start, &QUIET), WAIT, "nothing waits for that time");
}

#[test]
fn the_pause_after_errors_doubles_from_10_ms_to_1_s() {
    let (mut schedule, mut now) = on_demand();
    for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
        schedule.note_api_error(now);
        check_due(&schedule, now, &QUIET, now + pause * MS, Action::Ask);
        now += pause * MS;
    }
    schedule.note_asked();
    schedule.note_invoke(now);
    schedule.note_api_error(now);
    check_due(&schedule, now, &QUIET, now + 10 * MS, Action::Ask);
}

#[test]
fn the_pause_after_an_unknown_event_is_always_10_ms() {
    let (mut schedule, mut now) = on_demand();
    for _ in 0..100 {
        schedule.note_unknown_event(now);
        check_due(&schedule, now, &QUIET, now + 10 * MS, Action::Ask);
        now += 10 * MS;
        schedule.note_asked();
    }
    schedule.note_api_error(now);
    schedule.note_unknown_event(now);
    schedule.note_api_error(now);
    check_due(&schedule, now, &QUIET, now + 10 * MS, Action::Ask);
}

#[test]
fn nothing_is_sent_while_the_long_poll_pauses_on_demand() {
    let (mut schedule, start) = on_demand();
    schedule.note_unknown_event(start);
    assert_eq!(schedule.action(start, &DUE), wait_until(start + 10 * MS));
    let (mut schedule, start) = managed();
    schedule.note_api_error(start);
    assert_eq!(schedule.action(start, &DUE), Action::Send { until: start + 1000 * MS });
}

#[test]
fn after_500_the_agent_gives_up() {
    let (mut schedule, start) = managed();
    assert!(!schedule.is_ending());
    schedule.note_api_failure();
    assert!(schedule.is_ending() && !schedule.in_shutdown());
    assert_eq!(schedule.action(start, &DUE), Action::GiveUp, "without any network");
}

#[test]
fn shutdown_settles_at_once_when_all_is_known() {
    let (schedule, start) = shutdown(2000);
    assert_eq!(schedule.action(start, &Situation { is_complete: true, ..QUIET }), settle());
}

#[test]
fn shutdown_settles_after_300_ms_of_silence() {
    let (mut schedule, start) = shutdown(2000);
    check_due(&schedule, start, &QUIET, start + 300 * MS, settle());
    schedule.note_telemetry(start + 200 * MS);
    check_due(&schedule, start + 200 * MS, &QUIET, start + 500 * MS, settle());
}

#[test]
fn shutdown_listens_until_150_ms_before_the_deadline_while_an_end_is_expected() {
    let (mut schedule, start) = shutdown(2000);
    check_due(&schedule, start, &END_EXPECTED, start + 1850 * MS, settle());
    schedule.note_telemetry(start + 1800 * MS);
    let now = start + 1800 * MS;
    check_due(&schedule, now, &QUIET, start + 1850 * MS, settle());
}

#[test]
fn shutdown_settles_500_ms_before_the_deadline_when_evidence_waits_for_a_network() {
    let (schedule, start) = shutdown(2000);
    let evidence = Situation { has_evidence: true, ..END_EXPECTED };
    check_due(&schedule, start, &evidence, start + 1500 * MS, settle());
    let (schedule, start) = shutdown(400);
    assert_eq!(schedule.action(start, &evidence), settle());
}

#[test]
fn shutdown_sends_while_it_listens_until_100_ms_before_the_deadline() {
    let (mut schedule, start) = shutdown(2000);
    let until = start + 1900 * MS;
    let due = Situation { is_due: true, ..END_EXPECTED };
    assert_eq!(schedule.action(start, &due), Action::Send { until });
    schedule.note_send_start(until);
    check_due(&schedule, start, &due, start + 1500 * MS, settle());
    schedule.note_settled();
    assert_eq!(schedule.action(start + 1500 * MS, &due), wait_until(until));
    assert_eq!(schedule.action(until, &due), wait_until(until), "the late send ends first");
    assert!(schedule.is_send_late(until));
    schedule.note_send_end();
    assert_eq!(schedule.action(until, &due), Action::End);
}

#[test]
fn shutdown_repeats_a_failed_send_after_100_ms() {
    let (mut schedule, start) = shutdown(2000);
    schedule.note_settled();
    schedule.note_send_failure(start);
    check_due(&schedule, start, &DUE, start + 100 * MS, Action::Send { until: start + 1900 * MS });
    let late = start + 1850 * MS;
    schedule.note_send_failure(late);
    check_due(&schedule, late, &DUE, start + 1900 * MS, Action::End);
}

#[test]
fn shutdown_forgets_an_earlier_failure_and_shortens_a_running_send() {
    let (mut schedule, start) = on_demand();
    schedule.note_send_failure(start);
    schedule.note_shutdown(start, ShutdownReason::Timeout, Some(500 * MS));
    assert_eq!(schedule.action(start, &QUIET), wait_until(start + 300 * MS));
    assert_eq!(schedule.shutdown_reason(), Some(ShutdownReason::Timeout));
    assert!(matches!(schedule.action(start, &DUE), Action::Settle(_)), "less than 500 ms are left");
    schedule.note_settled();
    assert_eq!(schedule.action(start, &DUE), Action::Send { until: start + 400 * MS });

    let (mut schedule, start) = managed();
    schedule.note_send_start(start + 1000 * MS);
    schedule.note_shutdown(start, ShutdownReason::Spindown, Some(300 * MS));
    assert!(schedule.is_send_late(start + 200 * MS));
    assert!(!schedule.is_send_late(start + 199 * MS));
}

#[test]
fn shutdown_ends_when_everything_is_delivered() {
    let (mut schedule, start) = shutdown(2000);
    let unwritten = Situation { waits_for_stdout: true, ..QUIET };
    schedule.note_settled();
    assert_eq!(schedule.action(start, &QUIET), Action::End);
    check_due(&schedule, start, &unwritten, start + 1900 * MS, Action::End);
    schedule.note_send_start(start + 1900 * MS);
    assert_eq!(schedule.action(start, &QUIET), wait_until(start + 1900 * MS));
}

#[test]
fn a_deadline_of_shutdown_is_at_most_two_seconds_away() {
    for left in [None, Some(2000 * MS), Some(Duration::MAX)] {
        let (mut schedule, start) = on_demand();
        schedule.note_shutdown(start, ShutdownReason::Spindown, left);
        check_due(&schedule, start, &END_EXPECTED, start + 1850 * MS, settle());
    }
    for left_ms in [0, 50, 100] {
        let (mut schedule, start) = shutdown(left_ms);
        assert_eq!(schedule.action(start, &DUE), settle());
        schedule.note_settled();
        assert_eq!(schedule.action(start, &DUE), Action::End, "{left_ms} ms are too few");
    }
}

#[test]
fn the_timeout_of_poll_is_rounded_up() {
    let now = Instant::now();
    assert_eq!(timeout_ms(now, None), -1);
    assert_eq!(timeout_ms(now + MS, Some(now)), 1);
    assert_eq!(timeout_ms(now, Some(now)), 1);
    assert_eq!(timeout_ms(now, Some(now + 1500 * MS / 1000)), 2);
    assert_eq!(timeout_ms(now, Some(now + 3_000_000_000 * MS)), i32::MAX);
}

#[test]
fn the_earliest_of_two_times() {
    let now = Instant::now();
    assert_eq!(earliest(None, None), None);
    assert_eq!(earliest(None, Some(now)), Some(now));
    assert_eq!(earliest(Some(now), None), Some(now));
    assert_eq!(earliest(Some(now + MS), Some(now)), Some(now));
}

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
            situation: QUIET,
            has_turns,
            held_since: Some(now),
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
        let Situation { is_due, has_evidence, expects_an_end, is_complete, .. } = self.situation;
        let is_silent = !expects_an_end && self.now >= self.heard_at + 300 * MS;
        let is_urgent = (is_due || has_evidence) && left <= 500 * MS;
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
            assert!(self.now <= since + 1000 * MS + LATE_MAX, "the turn is held for too long");
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
        match self.deadline {
            Some(deadline) => assert!(until + 100 * MS <= deadline),
            None if self.has_turns => {
                let since = self.held_since.expect("a send outside of a turn");
                assert_eq!(until, since + 1000 * MS);
            }
            None => assert_eq!(until, self.now + 1000 * MS),
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
            situation.has_evidence = !self.is_settled && random.one_in(3);
            situation.expects_an_end = random.one_in(2);
            situation.is_complete = random.one_in(5);
            situation.waits_for_stdout = random.one_in(5);
        }
        self.read_child();
        assert_eq!(self.schedule.expects_event(), self.is_asked && self.deadline.is_none());
        if self.schedule.expects_event() && self.random.one_in(2) {
            self.read_answer();
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
