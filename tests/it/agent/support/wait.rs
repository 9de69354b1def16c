//! Waiting for a state, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How long any test waits for the agent. An agent that hangs must fail the test, not hang it.
pub(in crate::agent) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(in crate::agent) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        pause();
    }
}

/// Leaves the processor to others before the next look at a state.
pub(in crate::agent) fn pause() {
    thread::sleep(Duration::from_millis(1));
}
