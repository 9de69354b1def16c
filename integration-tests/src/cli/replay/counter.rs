//! The kernel's counter in a replay.
//!
//! In: the counts of a recording. Out: a folder in place of a cgroup's, in which the counter rises
//! where it rose in the recording. A capture without attempts is not ours and has no counter.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::capture::Capture;

/// The folder in place of the cgroup.
pub(super) fn folder(capture: &Capture) -> io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    if !capture.header.attempts.is_empty() {
        rise(folder.path(), 0)?;
    }
    Ok(folder)
}

/// Writes the same file again: the extension may keep it open.
pub(super) fn rise(folder: &Path, kills: u64) -> io::Result<()> {
    fs::write(folder.join("memory.events"), format!("oom_kill {kills}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_recording_has_one() {
        for (text, count) in [
            (r#"{"time":"T","type":"function","record":""}"#, None),
            (r#"{"attempts":[{"request_id":"a"}]}"#, Some("oom_kill 0\n")),
        ] {
            let folder = folder(&Capture::read(text).expect("a capture")).expect("a folder");
            let file = folder.path().join("memory.events");
            assert_eq!(fs::read_to_string(file).ok().as_deref(), count);
        }
    }
}
