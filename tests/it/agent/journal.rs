//! The journal as a file: when it is written, and what it is worth when it cannot be.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::life::{OOM, bodies};
use super::script::{INVOKE, Script};

/// Tells whether the journal is written to from now on.
struct Watched {
    path: std::path::PathBuf,
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
