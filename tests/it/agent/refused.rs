//! What the kernel refuses: streams that are closed, full, or read by nobody.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use super::binary::binary;
use super::cost::is_inherited;
use super::life::{OOM, bodies};
use super::script::{INVOKE, Left, Script};

/// A shell does `first`, then becomes the agent, which waits for its first event.
fn ready_after(first: &str, stdout: Stdio) -> Script {
    ready_with(first, stdout, &[])
}

/// The same with these variables.
fn ready_with(first: &str, stdout: Stdio, variables: &[(&str, &str)]) -> Script {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{first} exec \"$0\"")).arg(binary());
    Script::start_by(shell, stdout, variables).prepared()
}

/// Starts the agent where, beside its stdout and stderr, so many files can be open.
fn ready_with_files(count: usize, variables: &[(&str, &str)]) -> Script {
    // Stdin's number is free, as the agent gives it up.
    let last = (3..).filter(|number| !is_inherited(*number)).nth(count - 2).expect("a number");
    ready_with(&format!("ulimit -n {};", last + 1), Stdio::piped(), variables)
}

/// The agent counts two, takes an INVOKE, and ends by SHUTDOWN, whoever hears it.
fn check(mut script: Script, metrics: usize) -> Left {
    let body = &bodies(OOM)[0];
    assert_eq!(script.sender().post(body), 200);
    assert_eq!(script.sender().post(body.replace("\"A\"", "\"B\"")), 200);
    script.give(INVOKE);
    script.next();
    script.end(metrics)
}

#[test]
fn streams_that_are_closed() {
    for (closed, metrics) in [("<&-", 2), ("2>&-", 2), (">&-", 0), ("<&- >&- 2>&-", 0)] {
        check(ready_after(&format!("exec {closed};"), Stdio::piped()), metrics);
    }
}

#[test]
fn a_stdout_that_is_full() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let left = check(ready_after("", full.into()), 0);
    left.warnings(1).once("stdout does not take").once("unwritten: 2");
}

#[test]
fn a_stdout_whose_reader_has_gone() {
    let (_, writer) = std::io::pipe().expect("a pipe");
    let left = check(ready_after("", writer.into()), 0);
    left.warnings(1).once("stdout does not take").once("unwritten: 2");
}

/// Who finds no descriptor free waits, and is taken as soon as there is one: the connection that
/// says nothing gives up its own.
#[test]
fn no_descriptor_left_for_a_connection() {
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

/// Deaf to telemetry, and to nothing else.
#[test]
fn no_descriptor_left_for_any_connection() {
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
fn every_low_limit_of_open_files() {
    for count in 4..13 {
        check(ready_with_files(count, &[]), 2);
    }
    // Not even a journal.
    let mut script = ready_with_files(2, &[("OOM_WITNESS_STATE", "/dev/null/none")]);
    script.give(INVOKE);
    script.next();
    script.end(0).once("no journal at");
}
