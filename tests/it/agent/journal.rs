//! The journal as a file: when it is written, and what it is worth when it cannot be.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::binary::binary;
use super::cost::port;
use super::life::{OOM, bodies};
use super::script::{INVOKE, Script};

/// Tells whether the journal is written to from now on.
struct Watched {
    path: PathBuf,
    then: SystemTime,
}

impl Watched {
    fn new(script: &Script) -> Self {
        let watched =
            Self { path: script.journal(), then: SystemTime::UNIX_EPOCH + Duration::from_secs(1) };
        let file = File::options().write(true).open(&watched.path).expect("a journal");
        file.set_modified(watched.then).expect("a time");
        watched
    }

    fn is_written(&self) -> bool {
        let metadata = fs::metadata(&self.path).expect("a journal");
        metadata.modified().expect("a time") != self.then
    }
}

/// Nothing has changed, so nothing is written: not at an INVOKE, and not for lines without a meaning.
#[test]
fn quiet_invocations_write_nothing() {
    let mut script = Script::ready(&[]);
    let mut sender = script.sender();
    assert_eq!(sender.post(&bodies(OOM)[0]), 200);
    // A body is answered before it is written down.
    script.give(INVOKE);
    script.next();
    let watched = Watched::new(&script);
    for _ in 0..50 {
        script.give(INVOKE);
        script.next();
        assert_eq!(sender.post(&bodies("300 log nothing to see\n 300 log here")[0]), 200);
    }
    script.give(INVOKE);
    script.next();
    assert!(!watched.is_written());
    assert_eq!(sender.post(&bodies(&OOM.replace(" A", " B"))[0]), 200);
    script.give(INVOKE);
    script.next();
    assert!(watched.is_written());
    script.end(2).warnings(0);
}

/// Where the kernel's count can be read, the time of the last reading is kept.
#[test]
fn the_time_of_the_kernels_count_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let vmstat = folder.path().join("vmstat");
    fs::write(&vmstat, "oom_kill 0\n").expect("a file");
    let mut script = Script::ready(&[("OOM_WITNESS_VMSTAT", &vmstat.to_string_lossy())]);
    let watched = Watched::new(&script);
    // Another millisecond has to come.
    for _ in 0..10_000 {
        script.give(INVOKE);
        script.next();
        if watched.is_written() {
            break;
        }
    }
    assert!(watched.is_written());
    script.end(0).warnings(0);
}

/// An agent with this standard output, its journal at `path`, and its listener at `port`.
fn ready_with(stdout: Stdio, path: &str, port: u16) -> Script {
    let variables = [("OOM_WITNESS_STATE", path), ("OOM_WITNESS_PORT", &port.to_string())];
    let mut script = Script::start_by(Command::new(binary()), stdout, &variables);
    script.port = port;
    script.prepared()
}

/// Nothing of it was taken: it is as if it had not been tried.
#[test]
fn a_line_that_stdout_did_not_take_goes_out_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let port = port();
    let mut script = ready_with(full.into(), &path, port);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    script.end(0).once("written: 0, unwritten: 1");

    let script = ready_with(Stdio::piped(), &path, port);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.end(1).warnings(0).once("written: 1, unwritten: 0");
}

/// A pipe that nobody reads fills up: the line waits until there is room for it.
#[test]
fn a_line_that_found_no_room_goes_out_when_there_is_some() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    // Both ends open here, and neither blocks.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(O_NONBLOCK);
    let mut reader = options.open(&pipe).expect("a pipe");
    let mut filled = 0;
    while let Ok(count) = std::io::Write::write(&mut reader, &[b'\n'; 4096]) {
        filled += count;
    }
    let mut script = ready_with(reader.try_clone().expect("a descriptor").into(), &path, port());
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    let mut bytes = vec![0; filled];
    reader.read_exact(&mut bytes).expect("what was there");
    script.give(INVOKE);
    script.next();
    let mut line = vec![0; 4096];
    let length = reader.read(&mut line).expect("a line");
    let line = String::from_utf8_lossy(&line[..length]);
    assert_eq!(line.matches("\"aws.lambda.enhanced.out_of_memory\":1}\n").count(), 1, "{line}");
    script.end(0).warnings(1).once("written: 1, unwritten: 0");
}

const O_NONBLOCK: i32 = 0o4000;
