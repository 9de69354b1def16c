//! What the kernel refuses: streams that are closed, full, or read by nobody.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use super::binary::binary;
use super::life::{OOM, bodies};
use super::script::{INVOKE, Left, Script};

/// A shell does `first`, then becomes the agent, which waits for its first event.
fn ready_after(first: &str, stdout: Stdio) -> Script {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{first} exec \"$0\"")).arg(binary());
    Script::start_by(shell, stdout, &[]).prepared()
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
