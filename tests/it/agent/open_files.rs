//! Few open files: a low limit must not end the agent, nor leave Lambda unanswered.

use std::process::Stdio;

use super::support::cost::is_inherited;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{INVOKE, Script};

/// Starts the agent with a limit of `count` open files, not counting its stdout and stderr.
fn ready_with_files(count: usize, variables: &[(&str, &str)]) -> Script {
    // The number of stdin is free, since the agent closes it.
    let last = (3..).filter(|number| !is_inherited(*number)).nth(count - 2).expect("a number");
    Script::ready_after(&format!("ulimit -n {};", last + 1), Stdio::piped(), variables)
}

/// A connection that finds no descriptor waits. The silent connection gives up its own, and the
/// agent takes the new one.
#[test]
fn a_new_connection_gets_the_descriptor_of_a_silent_one() {
    // The journal, the listener, the long poll and one connection.
    let mut script = ready_with_files(4, &[]);
    let mut silent = script.sender();
    assert_eq!(silent.post("[]"), 200);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    silent.is_closed();
    script.give(INVOKE);
    script.next();
    script.end(1).warnings(1).once("cannot take a telemetry connection");
}

/// The agent gets no telemetry, but goes on in every other way.
#[test]
fn without_a_descriptor_for_telemetry_the_agent_still_takes_events() {
    let mut script = ready_with_files(3, &[]);
    let mut waiting = script.sender();
    waiting.write(waiting.head(1000));
    for _ in 0..3 {
        script.give(INVOKE);
        script.next();
    }
    script.end(0).warnings(1).once("cannot take a telemetry connection");
}

/// poll(2) takes no more entries than files can be open.
#[test]
fn the_agent_counts_under_every_low_limit_of_open_files() {
    for count in 4..13 {
        ready_with_files(count, &[]).count_two(2);
    }
    // There is no descriptor for a journal either.
    let mut script = ready_with_files(2, &[("OOM_WITNESS_STATE", "/dev/null/none")]);
    script.give(INVOKE);
    script.next();
    script.end(0).once("no journal at");
}
