//! Stdout and stderr that are closed, full, or not read.
//!
//! Lambda's pipes may block their writer. The agent writes a line only when the pipe has room for
//! it. A metric waits. A log line is lost, and the next line that gets through says so.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::support::agent_process::assert_metrics;
use super::support::binary::binary;
use super::support::bodies::oom_body;
use super::support::script::Script;
use super::support::wait::wait_until;

/// A full pipe. The test's end of it does not block.
struct FullPipe {
    folder: TempDir,
    end: File,
    filled: usize,
}

impl FullPipe {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status();
        assert!(made.expect("mkfifo").success());
        let mut options = OpenOptions::new();
        // Open for reading and writing, so that the pipe has a reader as long as the test runs.
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let end = options.open(folder.path().join("pipe")).expect("a pipe");
        let mut pipe = Self { folder, end, filled: 0 };
        while let Ok(count) = pipe.end.write(&[b'\n'; 4096]) {
            pipe.filled += count;
        }
        pipe
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }

    /// Reads the bytes that filled it.
    fn drain(&mut self) {
        self.end.read_exact(&mut vec![0; self.filled]).expect("what was there");
    }

    /// Reads what has been written since then.
    fn read_rest(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.end.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("this end is open for writing too: {other:?}"),
        }
        String::from_utf8(bytes).expect("text")
    }
}

/// The agent with this pipe as descriptor 1 or 2. It waits for its first event.
fn start_ready_with(descriptor: u32, pipe: &FullPipe, variables: &[(&str, &str)]) -> Script {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("exec \"$0\" {descriptor}>\"$1\"")).arg(binary()).arg(pipe.path());
    Script::start_by(shell, Stdio::piped(), variables).make_ready()
}

/// One invocation runs out of memory, and the next one starts.
fn count_one(script: &mut Script) {
    script.post(oom_body());
    script.invoke();
}

#[test]
fn a_full_stdout_that_nobody_reads_delays_nothing() {
    let pipe = FullPipe::new();
    let mut script = start_ready_with(1, &pipe, &[]);
    count_one(&mut script);
    script.invoke();
    script
        .end(0)
        .assert_warnings(1)
        .assert_once("stdout does not take")
        .assert_once("written: 0, unwritten: 1");
}

#[test]
fn a_metric_goes_out_when_a_full_stdout_is_read_again() {
    let mut pipe = FullPipe::new();
    let mut script = start_ready_with(1, &pipe, &[]);
    count_one(&mut script);
    pipe.drain();
    script.invoke();
    let written = pipe.read_rest();
    assert_metrics(&written, 1);
    script.end(0).assert_warnings(1).assert_once("written: 1, unwritten: 0");
}

#[test]
fn a_metric_goes_out_when_a_full_stdout_that_does_not_block_is_read_again() {
    let mut pipe = FullPipe::new();
    let stdout = pipe.end.try_clone().expect("a descriptor").into();
    let mut script = Script::start_by(Command::new(binary()), stdout, &[]).make_ready();
    count_one(&mut script);
    pipe.drain();
    script.invoke();
    assert_metrics(&pipe.read_rest(), 1);
    script.end(0).assert_warnings(1).assert_once("written: 1, unwritten: 0");
}

/// The agent waits for room too, and needs no other event.
#[test]
fn a_metric_goes_out_as_soon_as_stdout_has_room() {
    let mut pipe = FullPipe::new();
    let mut script = start_ready_with(1, &pipe, &[]);
    count_one(&mut script);
    pipe.drain();
    let mut written = String::new();
    wait_until("the metric is written", || {
        written += &pipe.read_rest();
        written.ends_with('\n')
    });
    assert_metrics(&written, 1);
    script.end(0).assert_warnings(1).assert_once("written: 1, unwritten: 0");
}

#[test]
fn a_full_stderr_that_nobody_reads_delays_nothing() {
    let pipe = FullPipe::new();
    let mut script = start_ready_with(2, &pipe, &[("OOM_WITNESS_LOGS", "perhaps")]);
    count_one(&mut script);
    script.invoke();
    script.end(1);
}

/// There was no room for a warning and for the line at the start.
#[test]
fn the_next_line_that_gets_through_says_how_many_were_lost() {
    let mut pipe = FullPipe::new();
    let mut script = start_ready_with(2, &pipe, &[("OOM_WITNESS_LOGS", "perhaps")]);
    count_one(&mut script);
    pipe.drain();
    script.invoke();
    script.end(1);
    let written = pipe.read_rest();
    assert_eq!(written.lines().count(), 1, "{written}");
    assert!(written.contains("oom-witness: ends: "), "{written}");
    assert!(written.ends_with(" (2 lines before this one were lost)\n"), "{written}");
}

/// Runs an agent with this stdout. It counts one, takes an INVOKE and ends. Its last line has
/// `tally`.
fn check_stdout(stdout: Stdio, tally: &str) {
    let mut script = Script::start_by(Command::new(binary()), stdout, &[]).make_ready();
    count_one(&mut script);
    script.end(0).assert_once(tally);
}

#[test]
fn a_stdout_that_is_not_a_pipe_takes_what_it_has_room_for() {
    let mut file = tempfile::tempfile().expect("a file");
    check_stdout(file.try_clone().expect("a descriptor").into(), "written: 1, unwritten: 0");
    file.rewind().expect("its beginning");
    let mut written = String::new();
    file.read_to_string(&mut written).expect("text");
    assert_metrics(&written, 1);

    check_stdout(Stdio::null(), "written: 1, unwritten: 0");

    let (mut reader, writer) = UnixStream::pair().expect("a socket");
    check_stdout(OwnedFd::from(writer).into(), "written: 1, unwritten: 0");
    let mut written = String::new();
    reader.read_to_string(&mut written).expect("text");
    assert_metrics(&written, 1);

    let (_reader, mut writer) = UnixStream::pair().expect("a socket");
    writer.set_nonblocking(true).expect("an option");
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    writer.set_nonblocking(false).expect("an option");
    check_stdout(OwnedFd::from(writer).into(), "written: 0, unwritten: 1");
}

#[test]
fn closed_streams_do_not_end_the_agent() {
    for (closed, metrics) in [("<&-", 2), ("2>&-", 2), (">&-", 0), ("<&- >&- 2>&-", 0)] {
        Script::start_ready_after(&format!("exec {closed};"), Stdio::piped(), &[])
            .count_two(metrics);
    }
}

#[test]
fn a_stdout_without_space_keeps_its_metrics() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output = Script::start_ready_after("", full.into(), &[]).count_two(0);
    output.assert_warnings(1).assert_once("stdout does not take").assert_once("unwritten: 2");
}

#[test]
fn a_stdout_without_a_reader_keeps_its_metrics() {
    let (_, writer) = std::io::pipe().expect("a pipe");
    let output = Script::start_ready_after("", writer.into(), &[]).count_two(0);
    output.assert_warnings(1).assert_once("stdout does not take").assert_once("unwritten: 2");
}
