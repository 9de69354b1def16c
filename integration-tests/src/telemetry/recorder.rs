//! Records what one extension receives, and how far the kernel's counter had risen by then.
//!
//! In: each thing as the extension receives it. Out: the lines of a recording. A rise of the
//! counter becomes a line of its own before what the extension received after it.

use std::sync::Mutex;

use super::post::TelemetryConnection;
use crate::recording::RecordingLine;
use crate::sync::lock;

/// One telemetry request as it was sent.
#[derive(Clone, Debug)]
pub struct TelemetryPost {
    /// The body.
    pub body: Vec<u8>,
    /// The status of the answer. `None`: the connection failed.
    pub status: Option<u16>,
}

/// Records for one extension, and keeps the telemetry requests of all.
pub(crate) struct Recorder {
    recorded: Mutex<RecordedLines>,
    posted: Mutex<Vec<TelemetryPost>>,
    counter: Box<KillCounter>,
}

#[derive(Default)]
struct RecordedLines {
    lines: Vec<RecordingLine>,
    /// The counter in the last line that has it.
    kills: u64,
}

/// Reads how many processes of the environment the kernel has killed.
pub(crate) type KillCounter = dyn Fn() -> u64 + Send + Sync;

impl Recorder {
    pub(crate) fn new(counter: Box<KillCounter>) -> Self {
        Self { recorded: Mutex::default(), posted: Mutex::default(), counter }
    }

    /// Records what the extension receives now.
    pub(crate) fn record(&self, line: RecordingLine) {
        self.record_at((self.counter)(), line);
    }

    /// Records what the extension received when the kernel's counter had risen to `kills`.
    fn record_at(&self, kills: u64, line: RecordingLine) {
        let mut recorded = lock(&self.recorded);
        if kills > recorded.kills {
            recorded.kills = kills;
            recorded.lines.push(RecordingLine::Kills(kills));
        }
        recorded.lines.push(line);
    }

    /// Posts a body, and returns the status of its answer. `recorded`: it is for the extension that
    /// is recorded.
    pub(crate) async fn post(
        &self,
        connection: &mut TelemetryConnection,
        body: &[u8],
        recorded: bool,
    ) -> Option<u16> {
        let kills = (self.counter)();
        let status = connection.post(body).await.ok();
        lock(&self.posted).push(TelemetryPost { body: body.to_vec(), status });
        if recorded && status.is_some() {
            self.record_at(kills, RecordingLine::post(body));
        }
        status
    }

    pub(crate) fn lines(&self) -> Vec<RecordingLine> {
        lock(&self.recorded).lines.clone()
    }

    pub(crate) fn posted(&self) -> Vec<TelemetryPost> {
        lock(&self.posted).clone()
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
