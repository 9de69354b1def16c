//! A low limit of open files. The agent goes on, and Lambda gets an answer.

use std::process::Stdio;

use super::support::bodies::oom_body;
use super::support::cost::is_inherited;
use super::support::script::Script;

/// Starts the agent with a limit of `count` open files, not counting its stdout and stderr.
fn start_with_open_files(count: usize, variables: &[(&str, &str)]) -> Script {
    // Number 0 is free, since the agent closes its stdin.
    let last = (3..).filter(|number| !is_inherited(*number)).nth(count - 2).expect("a number");
    Script::start_ready_after(&format!("ulimit -n {};", last + 1), Stdio::piped(), variables)
}

/// A connection that finds no descriptor waits. The silent connection gives up its own, and the
/// agent takes the new one.
#[test]
fn a_new_connection_gets_the_descriptor_of_a_silent_one() {
    // Four for the journal, the listener, the long poll and one connection.
    let mut script = start_with_open_files(4, &[]);
    let mut silent = script.connect();
    assert_eq!(silent.post("[]"), 200);
    script.post(oom_body());
    silent.assert_closed();
    script.invoke();
    script.end(1).assert_warnings(1).assert_once("cannot take a telemetry connection");
}

/// The agent gets no telemetry, but goes on in every other way.
#[test]
fn without_a_descriptor_for_telemetry_the_agent_still_takes_events() {
    let mut script = start_with_open_files(3, &[]);
    let mut waiting = script.connect();
    waiting.write(waiting.head(1000));
    for _ in 0..3 {
        script.invoke();
    }
    script.end(0).assert_warnings(1).assert_once("cannot take a telemetry connection");
}

/// poll(2) takes no more entries than files can be open.
#[test]
fn the_agent_counts_under_every_low_limit_of_open_files() {
    for count in 4..13 {
        start_with_open_files(count, &[]).count_two(2);
    }
    // There is no descriptor for a journal either.
    let mut script = start_with_open_files(2, &[("OOM_WITNESS_STATE", "/dev/null/none")]);
    script.invoke();
    script.end(0).assert_once("no journal at");
}
