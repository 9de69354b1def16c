//! The times of a recording, moved to now.
//!
//! An extension knows the time of a kill by its own clock. So a recording with a kill is replayed
//! at its own speed, and its events get times of today. Other captures are replayed at once, and
//! keep their times.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::capture::Capture;
use crate::clock;
use crate::recording::RecordingLine;

/// How the times are moved.
pub(super) struct ReplayTimes {
    /// Milliseconds. `None`: nothing is moved, and nobody waits.
    moved_ms: Option<i64>,
    /// When each line came, in the recording's own time.
    came: Vec<Option<Timestamp>>,
}

impl ReplayTimes {
    pub(super) fn new(capture: &Capture) -> Self {
        let killed =
            capture.header.attempts.iter().any(|attempt| attempt["oom_kills"].as_u64() > Some(0));
        let came = came(capture);
        let first = capture.lines.iter().find_map(|step| times_in(step).next());
        let moved = |first: Timestamp| clock::epoch_ms(Duration::ZERO) - first.as_millisecond();
        Self { moved_ms: first.filter(|_| killed).map(moved), came }
    }

    /// Waits until line `number` is due.
    pub(super) fn wait_for(&self, number: usize) {
        let came = self.came.get(number).copied().flatten();
        let (Some(moved), Some(came)) = (self.moved_ms, came) else { return };
        let left = came.as_millisecond() + moved - clock::epoch_ms(Duration::ZERO);
        thread::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
    }

    /// A body with its times moved.
    pub(super) fn moved(&self, body: &str) -> String {
        self.moved_ms.map_or_else(|| body.to_string(), |moved| replace(body, moved))
    }

    /// The recording's own time for a moved time.
    pub(super) fn original(&self, time: &str) -> String {
        let moved = self.moved_ms.and_then(|moved| shifted(time, -moved));
        moved.unwrap_or_else(|| time.to_string())
    }
}

/// A request came at the time of its last event. INVOKE came at the start of its invocation.
fn came(capture: &Capture) -> Vec<Option<Timestamp>> {
    let mut starts: Vec<(String, Option<Timestamp>)> = Vec::new();
    for event in capture.events().filter(|event| event["type"] == "platform.start") {
        let time = event["time"].as_str().and_then(|time| time.parse().ok());
        let id = event["record"]["requestId"].as_str().unwrap_or_default().to_string();
        if !starts.contains(&(id.clone(), time)) {
            starts.push((id, time));
        }
    }
    let came = |step: &RecordingLine| match step {
        RecordingLine::Post(_) => times_in(step).max(),
        RecordingLine::Invoke(id) => {
            let at = starts.iter().position(|start| start.0 == *id)?;
            starts.remove(at).1
        }
        _ => None,
    };
    capture.lines.iter().map(came).collect()
}

fn times_in(step: &RecordingLine) -> impl Iterator<Item = Timestamp> {
    let body = match step {
        RecordingLine::Post(body) => body.as_str(),
        _ => "",
    };
    let time = |(at, key): (usize, &str)| body.get(at + key.len()..)?.get(..LEN)?.parse().ok();
    body.match_indices(KEY).filter_map(time)
}

fn replace(body: &str, moved_ms: i64) -> String {
    let mut pieces = body.split(KEY);
    let mut text = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        text.push_str(KEY);
        match piece.get(..LEN).and_then(|time| shifted(time, moved_ms)) {
            Some(time) => {
                text.push_str(&time);
                text.push_str(&piece[LEN..]);
            }
            None => text.push_str(piece),
        }
    }
    text
}

fn shifted(time: &str, by_ms: i64) -> Option<String> {
    let time: Timestamp = time.parse().ok()?;
    Timestamp::from_millisecond(time.as_millisecond() + by_ms).ok().map(clock::iso)
}

/// The text before the time of an event.
const KEY: &str = r#"{"time":""#;

/// `2026-11-22T07:34:59.808Z`
const LEN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_events_are_moved_also_where_a_record_was_cut() {
        let body =
            r#"[{"time":"2026-11-22T07:34:59.808Z","type":"function","record":"{\"time\":\"x"#;
        let moved = body.replace("07:34:59.808", "07:35:00.008");
        assert_eq!(replace(body, 200), moved);
        assert_eq!(replace(&moved, -200), body);
    }

    #[test]
    fn invocations_came_at_their_starts() {
        let text = [
            r#"{"attempts":[{"oom_kills":1}]}"#,
            r#"{"invoke":"r"}"#,
            concat!(
                r#"{"post":[{"time":"2026-11-22T00:00:01.000Z","type":"platform.start","#,
                r#""record":{"requestId":"r"}},"#,
                r#"{"time":"2026-11-22T00:00:02.000Z","type":"function","record":""}]}"#,
            ),
            r#"{"invoke":"r"}"#,
            concat!(
                r#"{"post":[{"time":"2026-11-22T00:00:03.000Z","type":"platform.start","#,
                r#""record":{"requestId":"r"}}]}"#,
            ),
            r#"{"shutdown":"spindown"}"#,
        ];
        let capture = Capture::read(&text.join("\n")).expect("a recording");
        let seconds = |time: &Option<Timestamp>| time.map(|time| time.as_second() % 60);
        let times = ReplayTimes::new(&capture);
        let came: Vec<_> = times.came.iter().map(seconds).collect();
        assert_eq!(came, [Some(1), Some(2), Some(3), Some(3), None]);
        assert!(times.moved_ms.is_some());
    }
}
