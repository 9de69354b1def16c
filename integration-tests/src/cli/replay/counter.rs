//! The kernel's counter in a replay.
//!
//! In: the counts of a recording. Out: a folder in place of a cgroup's, in which the counter rises
//! where it rose in the recording. A capture without attempts is not ours and has no counter.

use std::fs;
use std::io;
use std::path::Path;

use super::capture::Capture;

/// The counter.
pub(super) struct ReplayedCounter(tempfile::TempDir);

impl ReplayedCounter {
    pub(super) fn new(capture: &Capture) -> io::Result<Self> {
        let counter = Self(tempfile::tempdir()?);
        if !capture.header.attempts.is_empty() {
            counter.rise(0)?;
        }
        Ok(counter)
    }

    /// The folder in place of the cgroup.
    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Writes the same file again: the extension may keep it open.
    pub(super) fn rise(&self, kills: u64) -> io::Result<()> {
        fs::write(self.folder().join("memory.events"), format!("oom_kill {kills}\n"))
    }
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
            let counter =
                ReplayedCounter::new(&Capture::read(text).expect("a capture")).expect("a counter");
            let file = counter.folder().join("memory.events");
            assert_eq!(fs::read_to_string(file).ok().as_deref(), count);
        }
    }
}
