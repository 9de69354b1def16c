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
use tokio::sync::{mpsc, oneshot};
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
use post::TelemetryConnection;
use recorder::Recorder;
use sender::{SenderCommand, SubscriptionSender};

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
    subscription: Subscription,
    commands: mpsc::UnboundedSender<SenderCommand>,
    task: JoinHandle<()>,
    /// For the caller's bodies.
    kept: Arc<tokio::sync::Mutex<TelemetryConnection>>,
}

impl Subscription {
    fn connection(&self) -> Arc<tokio::sync::Mutex<TelemetryConnection>> {
        Arc::new(TelemetryConnection::new(self.destination.clone()).into())
    }
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
            subscriber.send(&event);
        }
        if let Some(backlog) = &mut inner.backlog {
            backlog.push(event.clone());
        }
        inner.emitted.push(event);
    }

    pub(crate) fn subscribe(&self, name: &str, subscription: Subscription) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let sender = SubscriptionSender {
            subscription: subscription.clone(),
            format: self.format,
            switches: self.switches.clone(),
            recorder: Arc::clone(&self.recorder),
            recorded: name == self.subject,
        };
        let types = subscription.types.clone();
        let task = tokio::spawn(sender.run(inbox));
        {
            let mut inner = self.lock();
            let kept = subscription.connection();
            let subscriber = Subscriber { subscription, commands, task, kept };
            for event in inner.backlog.iter().flatten() {
                subscriber.send(event);
            }
            inner.subscribers.push(subscriber);
        }
        self.platform(
            "platform.telemetrySubscription",
            json!({"name": name, "state": "Subscribed", "types": types}),
        );
    }

    /// Posts the waiting events, and waits for the answers for at most `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let mut answers = Vec::new();
        for subscriber in &self.lock().subscribers {
            let (done, answer) = oneshot::channel();
            if subscriber.commands.send(SenderCommand::Flush(done)).is_ok() {
                answers.push(answer);
            }
        }
        let all = async {
            for answer in answers {
                let _ = answer.await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// The path of the first subscriber's destination.
    pub(crate) fn path(&self) -> Option<String> {
        Some(self.lock().subscribers.first()?.subscription.destination.path.clone())
    }

    /// Posts the caller's body to every subscriber at once, without batching. `kept`: over a
    /// connection that stays open, like that of the stream's own events, and not over a new one.
    pub(crate) async fn post(&self, body: &[u8], kept: bool) -> Vec<Option<u16>> {
        let connection = |subscriber: &Subscriber| match kept {
            true => Arc::clone(&subscriber.kept),
            false => subscriber.subscription.connection(),
        };
        let all: Vec<_> = self.lock().subscribers.iter().map(connection).collect();
        let mut statuses = Vec::new();
        for connection in all {
            statuses.push(self.recorder.post(&mut *connection.lock().await, body, true).await);
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

    fn lock(&self) -> MutexGuard<'_, HubState> {
        lock(&self.inner)
    }
}

impl Subscriber {
    fn send(&self, event: &TelemetryEvent) {
        if self.subscription.types.iter().any(|kind| kind == event.stream()) {
            let _ = self.commands.send(SenderCommand::Event(event.clone()));
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}
