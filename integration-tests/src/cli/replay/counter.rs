//! The kernel's counter in a replay.
//!
//! In: the labels of a recording. Out: a folder that stands for a cgroup's, in which the counter
//! has risen before the end of each attempt in which somebody was killed. Captures of others have
//! no labels: there is then no counter.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::capture::{Capture, Step};

/// The counter.
pub(super) struct Counter {
    folder: tempfile::TempDir,
    /// Request id and kills of each attempt; no kills once they have been told.
    attempts: Vec<(String, u64)>,
    current: Option<usize>,
    kills: u64,
}

impl Counter {
    pub(super) fn new(capture: &Capture) -> io::Result<Self> {
        let attempt = |attempt: &Value| {
            let id = attempt["request_id"].as_str().unwrap_or_default().to_string();
            (id, attempt["oom_kills"].as_u64().unwrap_or(0))
        };
        let attempts: Vec<_> = capture.attempts.iter().map(attempt).collect();
        let counter = Self { folder: tempfile::tempdir()?, attempts, current: None, kills: 0 };
        if !counter.attempts.is_empty() {
            counter.write()?;
        }
        Ok(counter)
    }

    /// What stands for the cgroup.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What has happened before this is told.
    pub(super) fn before(&mut self, step: &Step) -> io::Result<()> {
        let current = self.current.and_then(|at| self.attempts.get_mut(at));
        let kills = match (step, current) {
            (Step::Post(_), Some((id, kills)))
                if step.events().iter().any(|event| ends(event, id)) =>
            {
                std::mem::take(kills)
            }
            (Step::Invoke(_) | Step::Shutdown(_) | Step::Restart, Some((_, kills))) => {
                std::mem::take(kills)
            }
            _ => 0,
        };
        if matches!(step, Step::Invoke(_)) {
            self.current = Some(self.current.map_or(0, |at| at + 1));
        }
        self.kills += kills;
        if kills > 0 { self.write() } else { Ok(()) }
    }

    /// In place: the extension may keep the file open.
    fn write(&self) -> io::Result<()> {
        fs::write(self.folder.path().join("memory.events"), format!("oom_kill {}\n", self.kills))
    }
}

fn ends(event: &Value, id: &str) -> bool {
    event["type"] == "platform.runtimeDone" && event["record"]["requestId"] == id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_before_the_end_of_the_attempt_in_which_somebody_was_killed() {
        let text = [
            concat!(
                r#"{"attempts":[{"request_id":"a","oom_kills":2},"#,
                r#"{"request_id":"b","oom_kills":0},{"request_id":"c","oom_kills":1}]}"#,
            ),
            r#"{"invoke":"a"}"#,
            r#"{"post":[{"time":"T","type":"platform.runtimeDone","record":{"requestId":"a"}}]}"#,
            r#"{"invoke":"b"}"#,
            r#"{"post":[{"time":"T","type":"platform.runtimeDone","record":{"requestId":"b"}}]}"#,
            r#"{"invoke":"c"}"#,
            r#"{"shutdown":"failure"}"#,
        ];
        let capture = Capture::read(&text.join("\n")).expect("a recording");
        let mut counter = Counter::new(&capture).expect("a counter");
        let file = counter.folder().join("memory.events");
        let mut seen = vec![fs::read_to_string(&file).expect("a count")];
        for step in &capture.steps {
            counter.before(step).expect("a step");
            seen.push(fs::read_to_string(&file).expect("a count"));
        }
        let expected = [0, 0, 2, 2, 2, 2, 3].map(|kills| format!("oom_kill {kills}\n"));
        assert_eq!(seen, expected);
    }

    #[test]
    fn without_labels_there_is_none() {
        let event = r#"{"time":"T","type":"function","record":""}"#;
        let counter = Counter::new(&Capture::read(event).expect("a capture")).expect("a counter");
        assert!(!counter.folder().join("memory.events").exists());
    }
}
