//! Records what one extension receives, and how far the kernel's counter had risen by then.
//!
//! In: each thing as the extension receives it. Out: the lines of a recording. A rise of the
//! counter becomes a line of its own before what the extension received after it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::recording::RecordingLine;

/// Records for one extension.
pub(crate) struct Recorder {
    recorded: Mutex<RecordedLines>,
    counter: Box<Counter>,
}

#[derive(Debug, Default)]
struct RecordedLines {
    lines: Vec<RecordingLine>,
    /// The counter in the last line that has it.
    kills: u64,
}

/// Reads how many processes of the environment the kernel has killed.
pub(crate) type Counter = dyn Fn() -> u64 + Send + Sync;

impl Recorder {
    pub(crate) fn new(counter: Box<Counter>) -> Self {
        Self { recorded: Mutex::default(), counter }
    }

    /// The kernel's counter now.
    pub(crate) fn kills(&self) -> u64 {
        (self.counter)()
    }

    /// Records what the extension receives now.
    pub(crate) fn record(&self, line: RecordingLine) {
        self.record_at(self.kills(), line);
    }

    /// Records what the extension received when the kernel's counter had risen to `kills`.
    pub(crate) fn record_at(&self, kills: u64, line: RecordingLine) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if kills > recorded.kills {
            recorded.kills = kills;
            recorded.lines.push(RecordingLine::Kills(kills));
        }
        recorded.lines.push(line);
    }

    pub(crate) fn lines(&self) -> Vec<RecordingLine> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("recorded", &self.recorded).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_rise_of_the_counter_is_recorded_before_what_came_after_it() {
        let kills = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&kills);
        let recorder = Recorder::new(Box::new(move || counter.load(Ordering::Relaxed)));
        let invoke = || RecordingLine::Invoke("r".into());
        recorder.record(invoke());
        kills.store(2, Ordering::Relaxed);
        recorder.record_at(1, RecordingLine::Restart);
        recorder.record(invoke());
        recorder.record(invoke());
        let expected = [
            invoke(),
            RecordingLine::Kills(1),
            RecordingLine::Restart,
            RecordingLine::Kills(2),
            invoke(),
            invoke(),
        ];
        assert_eq!(recorder.lines(), expected);
    }
}
