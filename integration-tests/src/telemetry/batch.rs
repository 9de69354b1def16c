//! When a batch is sent and what its bytes are.
//!
//! In: events in bytes, and the time as an argument. Out: the bodies of the requests. An event that
//! is larger than `maxBytes` is cut inside its record (DataDog/datadog-lambda-extension 1357):
//!
//! ```text
//! [{"time":"T","type":"function","record":"AAAA}]
//! [{"time":"T","type":"function","record":BBBB"},{"time":...}]
//! ```

use std::collections::VecDeque;

use super::event::EventText;
use super::subscription::Buffering;

/// Events that wait for their request.
#[derive(Debug)]
pub(crate) struct Batcher {
    limits: Buffering,
    events: VecDeque<EventText>,
    bytes: usize,
    oldest_ms: Option<u64>,
    /// How many records were dropped, and their bytes.
    dropped: (u64, u64),
}

impl Batcher {
    pub(crate) fn new(limits: Buffering) -> Self {
        Self { limits, events: VecDeque::new(), bytes: 0, oldest_ms: None, dropped: (0, 0) }
    }

    /// Takes an event. It drops and counts the event if two batches of log records already wait.
    pub(crate) fn push(&mut self, event: EventText, now_ms: u64) {
        let size = event.size();
        if event.droppable && self.bytes > 2 * self.limits.max_bytes {
            self.dropped.0 += 1;
            self.dropped.1 += event.record.len() as u64;
            return;
        }
        self.bytes += size;
        self.oldest_ms.get_or_insert(now_ms);
        self.events.push_back(event);
    }

    /// When the next batch is due. A full one is due at once.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let oldest = self.oldest_ms?;
        let full =
            self.events.len() >= self.limits.max_items || self.bytes >= self.limits.max_bytes;
        Some(if full { oldest } else { oldest + self.limits.timeout_ms })
    }

    /// The bodies of the waiting events, at most `maxItems`. Empty: no event waits.
    pub(crate) fn take(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let count = self.events.len().min(self.limits.max_items);
        let taken: Vec<EventText> = self.events.drain(..count).collect();
        self.bytes -= taken.iter().map(EventText::size).sum::<usize>();
        self.oldest_ms = if self.events.is_empty() { None } else { Some(now_ms) };
        bodies(&taken, self.limits.max_bytes)
    }

    /// How many records were dropped since the last call, and their bytes. `None`: none was.
    pub(crate) fn take_dropped(&mut self) -> Option<(u64, u64)> {
        Some(std::mem::take(&mut self.dropped)).filter(|(records, _)| *records > 0)
    }
}

/// JSON arrays of the events. One that is larger than `max_bytes` is cut.
pub(crate) fn bodies(events: &[EventText], max_bytes: usize) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut body = Vec::new();
    for event in events {
        body.push(if body.is_empty() { b'[' } else { b',' });
        let mut record = event.record.as_bytes();
        if event.size() > max_bytes {
            let piece = max_bytes.saturating_sub(event.envelope.len() + 3).max(1);
            while record.len() > piece {
                body.extend_from_slice(event.envelope.as_bytes());
                body.extend_from_slice(&record[..piece]);
                body.extend_from_slice(b"}]");
                bodies.push(std::mem::replace(&mut body, b"[".to_vec()));
                record = &record[piece..];
            }
        }
        body.extend_from_slice(event.envelope.as_bytes());
        body.extend_from_slice(record);
        body.push(b'}');
    }
    if !body.is_empty() {
        body.push(b']');
        bodies.push(body);
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Buffering = Buffering { max_items: 3, max_bytes: 40, timeout_ms: 25 };

    fn event(record: &str) -> EventText {
        EventText { envelope: r#"{"record":"#.into(), record: record.into(), droppable: true }
    }

    fn texts(bodies: Vec<Vec<u8>>) -> Vec<String> {
        bodies.into_iter().map(|body| String::from_utf8(body).expect("text")).collect()
    }

    #[test]
    fn a_batch_waits_for_its_time() {
        let mut batcher = Batcher::new(LIMITS);
        assert_eq!(batcher.due_ms(), None);
        batcher.push(event("1"), 100);
        batcher.push(event("2"), 110);
        assert_eq!(batcher.due_ms(), Some(125));
        assert_eq!(texts(batcher.take(125)), [r#"[{"record":1},{"record":2}]"#]);
        assert_eq!(batcher.due_ms(), None);
        assert!(batcher.take(130).is_empty());
    }

    #[test]
    fn items_or_bytes_make_it_due_at_once() {
        let mut batcher = Batcher::new(LIMITS);
        for _ in 0..3 {
            batcher.push(event("1"), 100);
        }
        assert_eq!(batcher.due_ms(), Some(100));
        let mut batcher = Batcher::new(LIMITS);
        batcher.push(event("12345678901234567890123456789"), 100);
        assert_eq!(batcher.due_ms(), Some(100));
    }

    #[test]
    fn more_items_than_allowed_wait_for_the_next() {
        let mut batcher = Batcher::new(LIMITS);
        for number in ["1", "2", "3", "4"] {
            batcher.push(event(number), 100);
        }
        assert_eq!(texts(batcher.take(100)), [r#"[{"record":1},{"record":2},{"record":3}]"#]);
        assert_eq!(batcher.due_ms(), Some(125));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_platform_always_fits() {
        let mut batcher = Batcher::new(LIMITS);
        let large = "9".repeat(60);
        for _ in 0..3 {
            batcher.push(event(&large), 100);
        }
        batcher.push(EventText { droppable: false, ..event("1") }, 100);
        assert_eq!(batcher.take_dropped(), Some((1, 60)));
        assert_eq!(batcher.take_dropped(), None);
        assert_eq!(batcher.events.len(), 3);
    }

    #[test]
    fn a_large_record_is_cut_inside_and_others_follow_its_end() {
        let record = r#""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABBBB""#;
        assert_eq!(
            texts(bodies(&[event("1"), event(record), event("2")], 40)),
            [
                r#"[{"record":1},{"record":"AAAAAAAAAAAAAAAAAAAAAAAAAA}]"#,
                r#"[{"record":AAAAAAAAABBBB"},{"record":2}]"#,
            ]
        );
    }

    #[test]
    fn a_record_can_be_cut_more_than_once() {
        let record = "7".repeat(70);
        let cut = texts(bodies(&[event(&record)], 40));
        assert_eq!(cut.len(), 3);
        let whole: String = cut.iter().map(|body| body.matches('7').collect::<String>()).collect();
        assert_eq!(whole, record);
    }
}
