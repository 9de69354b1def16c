//! The task that delivers one subscription: batches, posts, sends again, reports what it dropped.
//!
//! In: events and flush requests from a channel. Out: requests, one at a time. It ends when the
//! channel closes or its environment stops it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::batch::Batcher;
use super::event::{EventText, LogFormat, TelemetryEvent};
use super::post::TelemetryConnection;
use super::recorder::Recorder;
use super::subscription::Subscription;
use crate::switches::Switches;

/// A command to a sender.
pub(crate) enum SenderCommand {
    Event(TelemetryEvent),
    /// Posts the waiting events, and reports their answers.
    Flush(oneshot::Sender<()>),
}

/// Delivers one subscription.
pub(crate) struct SubscriptionSender {
    pub(crate) subscription: Subscription,
    pub(crate) format: LogFormat,
    pub(crate) switches: Switches,
    pub(crate) recorder: Arc<Recorder>,
    /// The subscription is that of the extension that is recorded.
    pub(crate) recorded: bool,
}

type Delivery = Pin<Box<dyn Future<Output = (TelemetryConnection, u16, u64)> + Send>>;

impl SubscriptionSender {
    pub(crate) async fn run(self, mut commands: mpsc::UnboundedReceiver<SenderCommand>) {
        let begun = Instant::now();
        let now_ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut limits = self.subscription.buffering;
        limits.max_bytes = self.switches.cut_at.unwrap_or(limits.max_bytes);
        let mut batcher = Batcher::new(limits);
        let mut idle = Some(TelemetryConnection::new(self.subscription.destination.clone()));
        let mut flight: Option<Delivery> = None;
        let (mut asked, mut answering) = (Vec::new(), Vec::new());
        loop {
            if let Some(connection) = idle.take() {
                let due = batcher.due_ms().is_some_and(|due| due <= now_ms());
                let bodies =
                    if due || !asked.is_empty() { batcher.take(now_ms()) } else { Vec::new() };
                if bodies.is_empty() {
                    acknowledge(&mut asked);
                    idle = Some(connection);
                } else {
                    answering.append(&mut asked);
                    flight = Some(self.deliver(connection, bodies));
                }
            }
            let due = batcher.due_ms().map(|due| begun + Duration::from_millis(due));
            let wake = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(SenderCommand::Event(event)) => {
                        batcher.push(self.render(&event), now_ms());
                    }
                    Some(SenderCommand::Flush(done)) => asked.push(done),
                    None => return,
                },
                (connection, status, records) = landed(&mut flight) => {
                    (idle, flight) = (Some(connection), None);
                    acknowledge(&mut answering);
                    self.after(&mut batcher, status, records, now_ms());
                }
                () = tokio::time::sleep_until(wake), if idle.is_some() => {}
            }
        }
    }

    fn render(&self, event: &TelemetryEvent) -> EventText {
        event.render(self.subscription.schema, self.format, self.switches.html_escape)
    }

    /// Reports to the subscriber what it will never get.
    fn after(&self, batcher: &mut Batcher, status: u16, lost: u64, now_ms: u64) {
        if let Some((records, bytes)) = batcher.take_dropped() {
            let reason = "Some logs were dropped because the downstream consumer is slower than \
                          the logs production rate";
            batcher.push(self.render(&dropped(records, bytes, reason)), now_ms);
        }
        if lost > 0 {
            let reason = format!("could not send events: http request failed with status {status}");
            batcher.push(self.render(&dropped(lost, 0, &reason)), now_ms);
        }
    }

    fn deliver(&self, mut connection: TelemetryConnection, bodies: Vec<Vec<u8>>) -> Delivery {
        let (recorder, recorded) = (Arc::clone(&self.recorder), self.recorded);
        let Switches { duplicate, resend, .. } = self.switches;
        Box::pin(async move {
            let (mut status, mut lost) = (0, 0);
            for body in bodies {
                for _ in 0..=u8::from(duplicate) {
                    let mut pause = Duration::from_millis(25);
                    // Until the subscriber takes it, or only once.
                    loop {
                        let answer = recorder.post(&mut connection, &body, recorded).await;
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
            (connection, status, lost)
        })
    }
}

async fn landed(flight: &mut Option<Delivery>) -> (TelemetryConnection, u16, u64) {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

fn acknowledge(asked: &mut Vec<oneshot::Sender<()>>) {
    for done in asked.drain(..) {
        let _ = done.send(());
    }
}

fn dropped(records: u64, bytes: u64, reason: &str) -> TelemetryEvent {
    let record = json!({"droppedBytes": bytes, "droppedRecords": records, "reason": reason});
    TelemetryEvent { time: Timestamp::now(), kind: "platform.logsDropped", record }
}
