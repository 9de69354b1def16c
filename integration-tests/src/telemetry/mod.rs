//! The Telemetry API's stream: events in, requests to each subscriber out.
//!
//! It keeps the events before the first subscription until registration closes, because extensions
//! see the events of the init in which they start. It decides nothing about an invocation.

mod batch;
mod event;
pub(crate) mod frames;
mod post;
mod recorder;
mod sender;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub use event::LogFormat;
pub(crate) use frames::FrameReader;
pub use recorder::TelemetryPost;

pub(crate) use recorder::KillCounter;
pub(crate) use subscription::{Schema, Subscription};

use crate::recording::RecordingLine;
use crate::switches::Switches;
use crate::sync::lock;
use event::TelemetryEvent;
use recorder::Recorder;
use sender::SubscriptionSender;

/// The stream of one environment.
pub(crate) struct Hub {
    inner: Mutex<HubState>,
    pub(crate) recorder: Arc<Recorder>,
    /// The extension that is recorded: the first.
    subject: String,
    format: LogFormat,
    switches: Switches,
}

#[derive(Default)]
struct HubState {
    /// The events of this init, for a later subscriber.
    backlog: Option<Vec<TelemetryEvent>>,
    subscribers: Vec<Subscriber>,
    emitted: Vec<TelemetryEvent>,
}

struct Subscriber {
    sender: Arc<SubscriptionSender>,
    task: JoinHandle<()>,
}

impl Hub {
    /// `subject` is the extension that is recorded. `counter` reads how many processes the
    /// kernel has killed.
    pub(crate) fn new(
        subject: String,
        counter: Box<KillCounter>,
        format: LogFormat,
        switches: Switches,
    ) -> Self {
        let recorder = Arc::new(Recorder::new(counter));
        Self { inner: Mutex::default(), recorder, subject, format, switches }
    }

    /// Forgets the subscribers of the last generation and keeps what is emitted from now on.
    /// Everything that they received has been recorded by then.
    pub(crate) async fn open(&self) {
        let mut last = {
            let mut inner = self.lock();
            inner.backlog = Some(Vec::new());
            std::mem::take(&mut inner.subscribers)
        };
        for subscriber in &mut last {
            subscriber.task.abort();
            let _ = (&mut subscriber.task).await;
        }
    }

    /// Ends the time in which extensions can subscribe.
    pub(crate) fn close(&self) {
        self.lock().backlog = None;
    }

    pub(crate) fn platform(&self, kind: &'static str, record: Value) {
        self.emit(Timestamp::now(), kind, record);
    }

    /// An event of the platform, or a line or a frame of the function (`function`) or of an
    /// extension (`extension`).
    pub(crate) fn emit(&self, time: Timestamp, kind: &'static str, record: Value) {
        if !self.switches.own_telemetry {
            return;
        }
        let event = TelemetryEvent { time, kind, record };
        let mut inner = self.lock();
        for subscriber in &inner.subscribers {
            subscriber.sender.send(&event);
        }
        if let Some(backlog) = &mut inner.backlog {
            backlog.push(event.clone());
        }
        inner.emitted.push(event);
    }

    pub(crate) fn subscribe(&self, name: &str, subscription: Subscription) {
        let types = subscription.types.clone();
        let sender = Arc::new(SubscriptionSender::new(self, name, subscription));
        let task = tokio::spawn(Arc::clone(&sender).run());
        {
            let mut inner = self.lock();
            for event in inner.backlog.iter().flatten() {
                sender.send(event);
            }
            inner.subscribers.push(Subscriber { sender, task });
        }
        self.platform(
            "platform.telemetrySubscription",
            json!({"name": name, "state": "Subscribed", "types": types}),
        );
    }

    /// Posts the waiting events, and waits for the answers for at most `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let answers: Vec<_> = self.senders().iter().map(|sender| sender.flush()).collect();
        let all = async {
            for answer in answers {
                let _ = answer.await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// The path of the first subscriber's destination.
    pub(crate) fn path(&self) -> Option<String> {
        Some(self.senders().first()?.subscription.destination.path.clone())
    }

    /// Posts the caller's body to every subscriber at once, without batching.
    pub(crate) async fn post(&self, body: &[u8], kept: bool) -> Vec<Option<u16>> {
        let mut statuses = Vec::new();
        for sender in self.senders() {
            statuses.push(sender.post(body, kept).await);
        }
        statuses
    }

    pub(crate) fn emitted(&self) -> Vec<Value> {
        self.lock().emitted.iter().map(TelemetryEvent::value).collect()
    }

    /// Records what the extension of this name receives, if it is the subject.
    pub(crate) fn record_for(&self, name: &str, line: RecordingLine) {
        if name == self.subject {
            self.recorder.record(line);
        }
    }

    fn senders(&self) -> Vec<Arc<SubscriptionSender>> {
        self.lock().subscribers.iter().map(|subscriber| Arc::clone(&subscriber.sender)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        lock(&self.inner)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}
