//! Standard output and standard error that are closed, full, or not read.
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

use super::support::binary::binary;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{INVOKE, Script};

/// A full pipe. Only this end does not block.
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

    /// Reads what it was filled with.
    fn drain(&mut self) {
        self.end.read_exact(&mut vec![0; self.filled]).expect("what was there");
    }

    /// What has been written since then.
    fn written(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.end.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("this end is open for writing, too: {other:?}"),
        }
        String::from_utf8(bytes).expect("text")
    }
}

/// The agent with this pipe as descriptor 1 or 2, waiting for its first event.
fn ready_with(descriptor: u32, pipe: &FullPipe, variables: &[(&str, &str)]) -> Script {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("exec \"$0\" {descriptor}>\"$1\"")).arg(binary()).arg(pipe.path());
    Script::start_by(shell, Stdio::piped(), variables).prepared()
}

/// One invocation that runs out of memory, and the next one.
fn count_one(script: &mut Script) {
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
}

const METRIC: &str = "\"aws.lambda.enhanced.out_of_memory\":1}\n";

#[test]
fn a_full_stdout_that_nobody_reads_delays_nothing() {
    let pipe = FullPipe::new();
    let mut script = ready_with(1, &pipe, &[]);
    count_one(&mut script);
    script.give(INVOKE);
    script.next();
    script.end(0).warnings(1).once("stdout does not take").once("written: 0, unwritten: 1");
}

#[test]
fn a_metric_goes_out_when_a_full_stdout_is_read_again() {
    let mut pipe = FullPipe::new();
    let mut script = ready_with(1, &pipe, &[]);
    count_one(&mut script);
    pipe.drain();
    script.give(INVOKE);
    script.next();
    let written = pipe.written();
    assert_eq!((written.lines().count(), written.matches(METRIC).count()), (1, 1), "{written}");
    script.end(0).warnings(1).once("written: 1, unwritten: 0");
}

/// The agent also waits for room, without another event.
#[test]
fn a_metric_goes_out_as_soon_as_stdout_has_room() {
    let mut pipe = FullPipe::new();
    let mut script = ready_with(1, &pipe, &[]);
    count_one(&mut script);
    pipe.drain();
    let mut written = String::new();
    while !written.contains(METRIC) {
        written += &pipe.written();
        std::thread::yield_now();
    }
    assert_eq!(written.lines().count(), 1, "{written}");
    script.end(0).warnings(1).once("written: 1, unwritten: 0");
}

#[test]
fn a_full_stderr_that_nobody_reads_delays_nothing() {
    let pipe = FullPipe::new();
    let mut script = ready_with(2, &pipe, &[("OOM_WITNESS_LOGS", "perhaps")]);
    count_one(&mut script);
    script.give(INVOKE);
    script.next();
    script.end(1);
}

/// There was no room for the warning and for the line at the start.
#[test]
fn the_next_line_that_gets_through_tells_how_many_were_lost() {
    let mut pipe = FullPipe::new();
    let mut script = ready_with(2, &pipe, &[("OOM_WITNESS_LOGS", "perhaps")]);
    count_one(&mut script);
    pipe.drain();
    script.give(INVOKE);
    script.next();
    script.end(1);
    let written = pipe.written();
    assert_eq!(written.lines().count(), 1, "{written}");
    assert!(written.contains("oom-witness: ends: "), "{written}");
    assert!(written.ends_with(" (2 lines before this one were lost)\n"), "{written}");
}

/// Runs an agent with this stdout. It counts one, takes an INVOKE and ends. Its last line has this
/// `tally`.
fn check_stdout(stdout: Stdio, tally: &str) {
    let mut script = Script::start_by(Command::new(binary()), stdout, &[]).prepared();
    count_one(&mut script);
    script.end(0).once(tally);
}

#[test]
fn a_stdout_that_is_not_a_pipe() {
    let mut file = tempfile::tempfile().expect("a file");
    check_stdout(file.try_clone().expect("a descriptor").into(), "written: 1, unwritten: 0");
    file.rewind().expect("its beginning");
    let mut written = String::new();
    file.read_to_string(&mut written).expect("text");
    assert_eq!((written.lines().count(), written.matches(METRIC).count()), (1, 1), "{written}");

    check_stdout(Stdio::null(), "written: 1, unwritten: 0");

    let (mut reader, writer) = UnixStream::pair().expect("a socket");
    check_stdout(OwnedFd::from(writer).into(), "written: 1, unwritten: 0");
    let mut written = String::new();
    reader.read_to_string(&mut written).expect("text");
    assert_eq!(written.matches(METRIC).count(), 1, "{written}");

    let (_reader, mut writer) = UnixStream::pair().expect("a socket");
    writer.set_nonblocking(true).expect("an option");
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    writer.set_nonblocking(false).expect("an option");
    check_stdout(OwnedFd::from(writer).into(), "written: 0, unwritten: 1");
}

#[test]
fn closed_streams_do_not_end_the_agent() {
    for (closed, metrics) in [("<&-", 2), ("2>&-", 2), (">&-", 0), ("<&- >&- 2>&-", 0)] {
        Script::ready_after(&format!("exec {closed};"), Stdio::piped(), &[]).count_two(metrics);
    }
}

#[test]
fn a_stdout_without_space_keeps_its_metrics() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let record = Script::ready_after("", full.into(), &[]).count_two(0);
    record.warnings(1).once("stdout does not take").once("unwritten: 2");
}

#[test]
fn a_stdout_without_a_reader_keeps_its_metrics() {
    let (_, writer) = std::io::pipe().expect("a pipe");
    let record = Script::ready_after("", writer.into(), &[]).count_two(0);
    record.warnings(1).once("stdout does not take").once("unwritten: 2");
}
