//! The queue of detections, and what a child's end means. No child is started.

use oom_witness_core::{Confidence, Detection, EvidenceSet, Source, Status, Subject};

use super::{FAILURES_MAX, Outbox, Outcome, Sink, SinkSet, WAITING_MAX, Waiting, heap};

fn detection(time_ms: u64) -> Detection {
    Detection {
        subject: Subject::Environment,
        evidence: EvidenceSet::EMPTY,
        confidence: Confidence::Confirmed,
        status: Status::Error,
        time_ms,
        memory_size_mb: None,
        max_memory_used_mb: None,
    }
}

/// An outbox where so many detections wait for Datadog.
fn outbox(count: u64) -> Outbox {
    let mut sinks = SinkSet::default();
    sinks.insert(Sink::Datadog);
    let mut outbox = Outbox::new();
    outbox.set_sinks(sinks);
    for time_ms in 0..count {
        outbox.keep(&detection(time_ms), &Source::default());
    }
    outbox
}

#[test]
fn a_line_waits_for_no_network() {
    let mut sinks = SinkSet::default();
    sinks.insert(Sink::Emf);
    let mut outbox = Outbox::new();
    outbox.set_sinks(sinks);
    assert!(!outbox.begin_lines(false));
    outbox.keep(&detection(1), &Source::default());
    assert!(!outbox.is_due(true));
    assert!(outbox.begin_lines(false));
    let kept: Vec<Waiting> = outbox.waiting().copied().collect();
    outbox.write_lines(&Source::default());
    assert!(outbox.is_sent());
    assert_eq!(outbox.tally().written + outbox.tally().unwritten, 1);
    // Killed between the two, it is not written again.
    let [waiting] = kept.as_slice() else { panic!("one waits") };
    let [sinks, begun] = waiting.bits();
    let waiting = Waiting::restore(waiting.detection, sinks, begun).unwrap();
    let mut after = Outbox::new();
    after.restore(waiting);
    assert!(after.waiting().next().is_none() && !after.begin_lines(true));
    assert_eq!(after.tally.unknown, 1);
}

#[test]
fn what_was_not_begun_goes_out_after_a_restart() {
    let outbox = outbox(1);
    let mut after = Outbox::new();
    for waiting in outbox.waiting() {
        let [sinks, begun] = waiting.bits();
        after.restore(Waiting::restore(waiting.detection, sinks, begun).unwrap());
    }
    assert!(after.is_due(false));
    assert_eq!(after.tally.unknown, 0);
    assert_eq!(Waiting::restore(detection(1), 0, 0), None);
}

#[test]
fn the_oldest_goes_first_and_leaves_when_it_is_known() {
    for outcome in [Outcome::Taken, Outcome::Unknown, Outcome::Refused] {
        let mut outbox = outbox(2);
        let (index, sink, first) = outbox.next(false).unwrap();
        assert_eq!(first.time_ms, 0);
        outbox.settle(index, sink, outcome);
        assert_eq!(outbox.next(false).unwrap().2.time_ms, 1, "{outcome:?}");
    }
}

#[test]
fn what_was_not_taken_stays() {
    let mut outbox = outbox(1);
    let (index, sink, _) = outbox.next(false).unwrap();
    outbox.settle(index, sink, Outcome::NotTaken);
    assert!(outbox.is_due(false));
    assert_eq!(outbox.tally.failed, 1);
}

#[test]
fn a_dead_sink_is_tried_in_shutdown_only() {
    let mut outbox = outbox(1);
    for _ in 0..FAILURES_MAX {
        assert!(outbox.is_due(false));
        outbox.settle(0, Sink::Datadog, Outcome::NotTaken);
    }
    assert!(!outbox.is_due(false));
    assert!(outbox.is_due(true));
    outbox.settle(0, Sink::Datadog, Outcome::Taken);
    outbox.keep(&detection(9), &Source::default());
    assert!(outbox.is_due(false), "it lives again");
}

#[test]
fn too_many_are_counted() {
    let outbox = outbox(WAITING_MAX as u64 + 3);
    assert_eq!(outbox.tally.overflowed, 3);
    assert_eq!(outbox.next(false).unwrap().2.time_ms, 0);
}

#[test]
fn what_the_end_of_a_child_means() {
    for (exit_code, handed_over, expected) in [
        (Some(0), true, Outcome::Taken),
        (Some(0), false, Outcome::Taken),
        (Some(1), true, Outcome::NotTaken),
        (Some(1), false, Outcome::NotTaken),
        (Some(2), true, Outcome::Unknown),
        (Some(2), false, Outcome::Unknown),
        (Some(3), true, Outcome::Refused),
        (Some(heap::NO_MEMORY.into()), false, Outcome::NotTaken),
        (Some(heap::NO_MEMORY.into()), true, Outcome::Unknown),
        (Some(101), false, Outcome::NotTaken),
        (Some(101), true, Outcome::Unknown),
        (None, false, Outcome::NotTaken),
        (None, true, Outcome::Unknown),
    ] {
        let outcome = Outcome::of_child(exit_code, handed_over);
        assert_eq!(outcome, expected, "{exit_code:?} {handed_over}");
    }
    for outcome in [Outcome::Taken, Outcome::NotTaken, Outcome::Unknown, Outcome::Refused] {
        let code = Some(i32::from(outcome.exit_code()));
        assert_eq!(Outcome::of_child(code, true), outcome);
    }
}
