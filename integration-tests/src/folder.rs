//! The folder that is an environment's `/tmp`. Its name says which process made it.

use std::fs;
use std::io;

use tempfile::TempDir;

use crate::owner;

/// A new folder, which ends with the value.
pub(crate) fn make() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", owner::name())).tempdir()
}

/// Removes the folders whose owner (pid and start time) is one of these.
pub(crate) fn clean(owned: impl Fn((u32, u64)) -> bool) {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.rsplit_once('-'));
        if name.and_then(|(owner, _)| owner::parse(owner)).is_some_and(&owned) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const PREFIX: &str = "oom-witness-env-";
