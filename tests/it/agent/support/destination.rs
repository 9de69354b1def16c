//! Where an agent that fails or is killed reports to, and how many metrics have arrived there.

use std::sync::{Arc, Mutex};
use std::thread;

use sandbox::Intake;

use super::otlp_requests::otlp_count;
use super::receiver::{Receiver, sum};
use super::wait::pause;

/// Where detections go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::agent) enum TestedSink {
    Emf,
    Network,
    Otlp,
    Datagram,
}

/// The receiver of a sink.
pub(in crate::agent) enum Destination {
    /// The agent's stdout, which is the test's to read.
    Stdout,
    Intake(Intake),
    OtlpReceiver(Intake),
    /// What listens for datagrams: its port, and what it has received.
    Receiver(u16, Arc<Mutex<Received>>),
}

/// A socket, and how many metrics have come from it.
pub(in crate::agent) struct Received {
    receiver: Receiver,
    count: usize,
}

impl Received {
    /// Reads all that has arrived.
    fn read(&mut self) {
        self.count += sum(&self.receiver.take());
    }
}

/// Reads datagrams all the time, since the kernel drops those that find no room in the socket.
fn start_receiver() -> (u16, Arc<Mutex<Received>>) {
    let receiver = Receiver::start();
    let port = receiver.port();
    let received = Arc::new(Mutex::new(Received { receiver, count: 0 }));
    let shared = Arc::downgrade(&received);
    thread::spawn(move || {
        while let Some(received) = shared.upgrade() {
            received.lock().expect("a receiver").read();
            drop(received);
            pause();
        }
    });
    (port, received)
}

impl Destination {
    pub(in crate::agent) fn start(sink: TestedSink) -> Self {
        match sink {
            TestedSink::Emf => Self::Stdout,
            TestedSink::Network => Self::Intake(Intake::start().expect("an intake")),
            TestedSink::Otlp => Self::OtlpReceiver(Intake::start().expect("an intake")),
            TestedSink::Datagram => {
                let (port, received) = start_receiver();
                Self::Receiver(port, received)
            }
        }
    }

    /// The variables by which an agent reports to it.
    pub(in crate::agent) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Stdout => Vec::new(),
            Self::Intake(intake) => {
                vec![("DD_API_KEY", "k".into()), ("DD_URL", intake.http_url())]
            }
            Self::OtlpReceiver(intake) => {
                vec![("OTEL_EXPORTER_OTLP_ENDPOINT", intake.http_url())]
            }
            Self::Receiver(port, _) => vec![
                ("OOM_WITNESS_SINKS", "dogstatsd".into()),
                ("DD_DOGSTATSD_PORT", port.to_string()),
            ],
        }
    }

    /// The server of a network sink.
    pub(in crate::agent) fn server(&self) -> Option<&Intake> {
        match self {
            Self::Intake(server) | Self::OtlpReceiver(server) => Some(server),
            Self::Stdout | Self::Receiver(..) => None,
        }
    }

    /// How many metrics it has received so far. `None` for stdout.
    pub(in crate::agent) fn count(&self) -> Option<f64> {
        match self {
            Self::Stdout => None,
            Self::Intake(intake) => Some(intake.points()),
            Self::OtlpReceiver(intake) => Some(otlp_count(intake)),
            Self::Receiver(_, received) => {
                let mut received = received.lock().expect("a receiver");
                received.read();
                #[expect(clippy::cast_precision_loss, reason = "a small count")]
                let count = received.count as f64;
                Some(count)
            }
        }
    }
}
