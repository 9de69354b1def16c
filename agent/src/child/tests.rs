//! What a sink's answer means, and which files of certificates are read.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process;

use super::{ROOTS_MAX, outcome_of, read_roots};
use crate::delivery::outbox::Outcome;

/// A file that is removed when the test ends.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn files_of_certificates() {
    let path = std::env::temp_dir().join(format!("oom-witness-roots-{}", process::id()));
    let file = File::create(&path).unwrap();
    let path = Temporary(path);
    let is_read = || read_roots(&OsString::from(&path.0)).unwrap().is_some();
    for (size, expected) in [(0, true), (ROOTS_MAX, true), (ROOTS_MAX + 1, false)] {
        file.set_len(size).unwrap();
        assert_eq!(is_read(), expected, "{size}");
    }
    for other in ["/dev/null", "/dev/zero", "/"] {
        assert!(read_roots(&OsString::from(other)).unwrap().is_none(), "{other}");
    }
    assert!(read_roots(&OsString::from("/nowhere/at/all")).is_err());
}

#[test]
fn statuses() {
    for (status, expected) in [
        (200, Outcome::Taken),
        (202, Outcome::Taken),
        (301, Outcome::Refused),
        (400, Outcome::Refused),
        (403, Outcome::Refused),
        (408, Outcome::NotTaken),
        (413, Outcome::Refused),
        (429, Outcome::NotTaken),
        (500, Outcome::NotTaken),
        (502, Outcome::Unknown),
        (503, Outcome::NotTaken),
        (504, Outcome::Unknown),
    ] {
        assert_eq!(outcome_of(status), expected, "{status}");
    }
}
