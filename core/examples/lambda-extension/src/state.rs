//! What must survive a restart: after a kill, the next process reads the late report, and must know
//! that the kill was counted.

use std::fs;
use std::io;

use oom_witness_core::Detector;
use oom_witness_core::sizes::SNAPSHOT_SIZE;

/// Lambda keeps `/tmp` when it restarts an extension.
const PATH: &str = "/tmp/oom-witness-core-lambda-extension";

/// Goes on where the previous process ended, if there was one.
pub(crate) fn restore(detector: &mut Detector, now_ms: u64) {
    if let Ok(snapshot) = fs::read(PATH)
        && !detector.restore(&snapshot, now_ms)
    {
        eprintln!("{PATH} cannot be read: a detection may be counted again");
    }
}

/// Replaces the file at once, so that a kill leaves the old one or the new one.
pub(crate) fn save(detector: &Detector) {
    let mut snapshot = [0; SNAPSHOT_SIZE];
    let length = detector.snapshot(&mut snapshot);
    if let Err(error) = replace(&snapshot[..length]) {
        eprintln!("{PATH}: {error}: a detection may be counted again");
    }
}

fn replace(snapshot: &[u8]) -> io::Result<()> {
    let new = format!("{PATH}.new");
    fs::write(&new, snapshot)?;
    fs::rename(new, PATH)
}
