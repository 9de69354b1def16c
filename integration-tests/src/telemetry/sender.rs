//! Delivers one subscription: batches, posts, sends again, reports what it dropped.
//!
//! In: events and flush requests. Out: requests, one at a time, until its environment stops the
//! task.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Hub;
use super::batch::Batcher;
use super::event::{LogFormat, TelemetryEvent};
use super::post::TelemetryConnection;
use super::recorder::Recorder;
use super::subscription::Subscription;
use crate::switches::Switches;
use crate::sync::lock;

/// Delivers one subscription.
pub(crate) struct SubscriptionSender {
    pub(crate) subscription: Subscription,
    format: LogFormat,
    switches: Switches,
    recorder: Arc<Recorder>,
    /// The subscription is that of the extension that is recorded.
    recorded: bool,
    waiting: Mutex<Waiting>,
    /// There is something new in `waiting`.
    changed: Notify,
    /// For the caller's bodies.
    kept: tokio::sync::Mutex<TelemetryConnection>,
    begun: Instant,
}

/// What waits for the next request: events, and those who want to know when it is answered.
struct Waiting {
    batcher: Batcher,
    asked: Vec<oneshot::Sender<()>>,
}

impl SubscriptionSender {
    pub(crate) fn new(hub: &Hub, name: &str, subscription: Subscription) -> Self {
        let mut limits = subscription.buffering;
        limits.max_bytes = hub.switches.cut_at.unwrap_or(limits.max_bytes);
        let waiting = Waiting { batcher: Batcher::new(limits), asked: Vec::new() };
        Self {
            format: hub.format,
            switches: hub.switches.clone(),
            recorder: Arc::clone(&hub.recorder),
            recorded: name == hub.subject,
            waiting: waiting.into(),
            changed: Notify::new(),
            kept: TelemetryConnection::new(subscription.destination.clone()).into(),
            begun: Instant::now(),
            subscription,
        }
    }

    /// Takes an event if the subscription names its stream.
    pub(crate) fn send(&self, event: &TelemetryEvent) {
        if self.subscription.types.iter().any(|kind| kind == event.stream()) {
            self.push(event);
        }
    }

    /// Makes the waiting events due. The receiver gets a value when they are answered.
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        lock(&self.waiting).asked.push(done);
        self.changed.notify_one();
        answer
    }

    /// Posts the caller's body at once. `kept`: over a connection that stays open, like that of the
    /// stream's own events, and not over a new one.
    pub(crate) async fn post(&self, body: &[u8], kept: bool) -> Option<u16> {
        if kept {
            return self.recorder.post(&mut *self.kept.lock().await, body, true).await;
        }
        self.recorder.post(&mut self.connection(), body, true).await
    }

    /// Delivers until the task is aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut connection = self.connection();
        loop {
            let (bodies, asked) = self.due().await;
            let (status, lost) = self.deliver(&mut connection, bodies).await;
            for done in asked {
                let _ = done.send(());
            }
            self.report_lost(status, lost);
        }
    }

    /// Waits until a batch is due or somebody asks for a flush.
    async fn due(&self) -> (Vec<Vec<u8>>, Vec<oneshot::Sender<()>>) {
        loop {
            let due = {
                let mut waiting = lock(&self.waiting);
                let (now_ms, due) = (self.now_ms(), waiting.batcher.due_ms());
                if !waiting.asked.is_empty() || due.is_some_and(|due| due <= now_ms) {
                    let bodies = waiting.batcher.take(now_ms);
                    return (bodies, std::mem::take(&mut waiting.asked));
                }
                due.map(|due| self.begun + Duration::from_millis(due))
            };
            let changed = self.changed.notified();
            match due {
                Some(due) => drop(timeout_at(due, changed).await),
                None => changed.await,
            }
        }
    }

    /// Reports to the subscriber what it will never get.
    fn report_lost(&self, status: u16, lost: u64) {
        let dropped = lock(&self.waiting).batcher.take_dropped();
        if let Some((records, bytes)) = dropped {
            let reason = "Some logs were dropped because the downstream consumer is slower than \
                          the logs production rate";
            self.push(&logs_dropped(records, bytes, reason));
        }
        if lost > 0 {
            let reason = format!("could not send events: http request failed with status {status}");
            self.push(&logs_dropped(lost, 0, &reason));
        }
    }

    /// Returns the last status, and how many bodies the subscriber did not take.
    async fn deliver(
        &self,
        connection: &mut TelemetryConnection,
        bodies: Vec<Vec<u8>>,
    ) -> (u16, u64) {
        let Switches { duplicate, resend, .. } = self.switches;
        let (mut status, mut lost) = (0, 0);
        for body in bodies {
            for _ in 0..=u8::from(duplicate) {
                let mut pause = Duration::from_millis(25);
                // Until the subscriber takes it, or only once.
                loop {
                    let answer = self.recorder.post(connection, &body, self.recorded).await;
                    status = answer.unwrap_or(0);
                    if (200..300).contains(&status) || !resend {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                lost += u64::from(!(200..300).contains(&status));
            }
        }
        (status, lost)
    }

    fn push(&self, event: &TelemetryEvent) {
        let text = event.render(self.subscription.schema, self.format, self.switches.html_escape);
        lock(&self.waiting).batcher.push(text, self.now_ms());
        self.changed.notify_one();
    }

    fn connection(&self) -> TelemetryConnection {
        TelemetryConnection::new(self.subscription.destination.clone())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn logs_dropped(records: u64, bytes: u64, reason: &str) -> TelemetryEvent {
    let record = json!({"droppedBytes": bytes, "droppedRecords": records, "reason": reason});
    TelemetryEvent { time: Timestamp::now(), kind: "platform.logsDropped", record }
}
