//! Where an agent that fails or is killed reports to, and how many metrics have arrived there.

use std::cell::Cell;
use std::process::Command;

use sandbox::Intake;

use super::receiver::{Receiver, sum};

/// Where detections go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::agent) enum TestedSink {
    Emf,
    Network,
    Datagram,
}

/// The receiver of a sink.
pub(in crate::agent) enum Destination {
    /// The agent's stdout, which is the test's to read.
    Stdout,
    Intake(Intake),
    /// What listens for datagrams, and how many metrics it has received.
    Receiver(Receiver, Cell<usize>),
}

impl Destination {
    pub(in crate::agent) fn start(sink: TestedSink) -> Self {
        match sink {
            TestedSink::Emf => Self::Stdout,
            TestedSink::Network => Self::Intake(Intake::start().expect("an intake")),
            TestedSink::Datagram => Self::Receiver(Receiver::start(), Cell::new(0)),
        }
    }

    /// Sets the variables by which an agent reports to it.
    pub(in crate::agent) fn set_variables(&self, agent: &mut Command) {
        match self {
            Self::Stdout => agent,
            Self::Intake(intake) => agent.env("DD_API_KEY", "k").env("DD_URL", intake.http_url()),
            Self::Receiver(receiver, _) => agent
                .env("OOM_WITNESS_SINKS", "dogstatsd")
                .env("DD_DOGSTATSD_PORT", receiver.port().to_string()),
        };
    }

    /// How many metrics it has received so far. `None` for stdout.
    pub(in crate::agent) fn count(&self) -> Option<f64> {
        match self {
            Self::Stdout => None,
            Self::Intake(intake) => Some(intake.points()),
            Self::Receiver(receiver, received) => {
                received.set(received.get() + sum(&receiver.take()));
                #[expect(clippy::cast_precision_loss, reason = "a small count")]
                let count = received.get() as f64;
                Some(count)
            }
        }
    }
}
