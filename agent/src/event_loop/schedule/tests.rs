//! Each rule of the schedule, at the times around it.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Nothing waits, and nothing is expected.
const QUIET: Situation = Situation {
    is_due: false,
    fetches_key: false,
    has_evidence: false,
    expects_an_end: false,
    is_complete: false,
    waits_for_stdout: false,
};

const DUE: Situation = Situation { is_due: true, ..QUIET };

const KEY_DUE: Situation = Situation { fetches_key: true, ..DUE };

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
fn a_send_that_first_fetches_a_key_holds_the_turn_for_two_seconds() {
    let (mut schedule, start) = on_demand();
    let until = start + 2000 * MS;
    assert_eq!(schedule.action(start, &KEY_DUE), Action::Send { until });
    schedule.note_send_start(until);
    assert_eq!(schedule.action(start + 1500 * MS, &KEY_DUE), wait_until(until));
    schedule.note_send_end();
    assert_eq!(schedule.action(start + 1500 * MS, &KEY_DUE), Action::Send { until });
    assert_eq!(schedule.action(start + 1500 * MS, &DUE), Action::Ask, "without a key it is late");
    assert_eq!(schedule.action(until, &KEY_DUE), Action::Ask);

    let (schedule, start) = managed();
    assert_eq!(schedule.action(start, &KEY_DUE), Action::Send { until: start + 2000 * MS });
}

/// SHUTDOWN comes next, and Lambda gives it two seconds.
#[test]
fn after_a_failed_invocation_no_send_holds_the_turn_for_more_than_a_second() {
    let (mut schedule, start) = on_demand();
    let until = start + 1000 * MS;
    schedule.note_send_start(start + 2000 * MS);
    schedule.note_failed_invocation();
    assert_eq!(schedule.action(start + 300 * MS, &KEY_DUE), wait_until(until));
    assert!(!schedule.is_send_late(start + 999 * MS) && schedule.is_send_late(until));
    schedule.note_send_end();
    assert_eq!(schedule.action(start + 300 * MS, &KEY_DUE), Action::Send { until });
    assert_eq!(schedule.action(until, &KEY_DUE), Action::Ask);
    let next = start + 5000 * MS;
    schedule.note_invoke(next);
    assert_eq!(schedule.action(next, &KEY_DUE), Action::Send { until: next + 2000 * MS });

    let (mut schedule, start) = managed();
    schedule.note_send_start(start + 2000 * MS);
    schedule.note_failed_invocation();
    assert!(!schedule.is_send_late(start + 1999 * MS), "without turns nothing waits for it");
}

#[test]
fn shutdown_settles_a_second_before_the_deadline_when_a_send_first_fetches_a_key() {
    let (schedule, start) = shutdown(2000);
    let evidence = Situation { has_evidence: true, fetches_key: true, ..END_EXPECTED };
    check_due(&schedule, start, &evidence, start + 1000 * MS, settle());
    let none = Situation { fetches_key: true, ..END_EXPECTED };
    check_due(&schedule, start, &none, start + 1850 * MS, settle());
    assert_eq!(schedule.action(start, &KEY_DUE), Action::Send { until: start + 1900 * MS });
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
