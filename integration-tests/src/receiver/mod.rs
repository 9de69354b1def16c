//! The receivers of an extension's metrics: one for each sink, on loopback.
//!
//! In: what the extension sends. Out: the points that a receiver has counted, with all that it
//! knows about them. A receiver decides nothing: the suite says what should have arrived.

mod collector;
mod emf;
mod program;
mod statsd;

use std::fmt;
use std::io;

use clap::ValueEnum;
use serde_json::Value;
use uuid::Uuid;

pub use collector::Collector;
pub use statsd::StatsdServer;

use crate::env::Line;
use crate::intake::Intake;

/// One count of the metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// How many attempts.
    pub value: f64,
    /// Tags, labels, attributes or dimensions, as `NAME:VALUE`.
    pub labels: Vec<String>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value, self.labels.join(" "))
    }
}

/// The items of a JSON array. None if it is no array.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The sum of their values.
pub(crate) fn sum(points: &[Point]) -> f64 {
    // The sum of no floats is -0.
    points.iter().fold(0.0, |sum, point| sum + point.value)
}

/// Where the agent sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum SinkChoice {
    /// Standard output, Embedded Metric Format.
    Emf,
    /// The fake intake over TLS 1.3.
    DatadogHttps,
    /// statsd_exporter, with DogStatsD's tags.
    Dogstatsd,
    /// statsd_exporter.
    Statsd,
    /// An OpenTelemetry Collector.
    Otlp,
    /// An OpenTelemetry Collector over TLS.
    OtlpHttps,
}

/// Where an extension sends its metrics.
pub(crate) enum Receiver {
    /// Standard output. There is nothing to start.
    Emf,
    /// The fake intake, and the API key that it is sent.
    Datadog(Intake, String),
    /// A StatsD server, and the names of the sink and of the variable with its port.
    Statsd(StatsdServer, &'static str, &'static str),
    Otlp(Collector),
}

impl Receiver {
    /// The receiver of this sink. It refuses what it is sent until it is started.
    pub(crate) fn new(sink: SinkChoice) -> io::Result<Self> {
        Ok(match sink {
            SinkChoice::Emf => Self::Emf,
            SinkChoice::DatadogHttps => Self::Datadog(Intake::bind()?, secret()),
            SinkChoice::Dogstatsd => {
                Self::Statsd(StatsdServer::new()?, "dogstatsd", "DD_DOGSTATSD_PORT")
            }
            SinkChoice::Statsd => Self::Statsd(StatsdServer::new()?, "statsd", "STATSD_PORT"),
            SinkChoice::Otlp => Self::Otlp(Collector::new(false)?),
            SinkChoice::OtlpHttps => Self::Otlp(Collector::new(true)?),
        })
    }

    /// The program that this sink's receiver is and this machine lacks.
    pub(crate) fn missing_program(sink: SinkChoice) -> Option<&'static str> {
        let program = match sink {
            SinkChoice::Emf | SinkChoice::DatadogHttps => return None,
            SinkChoice::Dogstatsd | SinkChoice::Statsd => statsd::PROGRAM,
            SinkChoice::Otlp | SinkChoice::OtlpHttps => collector::PROGRAM,
        };
        program::find(program).is_none().then_some(program)
    }

    /// Starts it, and returns when it listens.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        match self {
            Self::Emf => Ok(()),
            Self::Datadog(intake, _) => intake.listen(),
            Self::Statsd(server, ..) => server.start(),
            Self::Otlp(collector) => collector.start(),
        }
    }

    /// The variables by which an extension finds it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let variable = |name: &str, value: String| (name.to_string(), value);
        match self {
            Self::Emf => Vec::new(),
            Self::Datadog(intake, key) => vec![
                variable("DD_API_KEY", key.clone()),
                variable("DD_URL", intake.https_url()),
                variable("SSL_CERT_FILE", intake.ca_file().to_string_lossy().into()),
            ],
            Self::Statsd(server, sink, port) => vec![
                variable("OOM_WITNESS_SINKS", (*sink).into()),
                variable(port, server.port().to_string()),
            ],
            Self::Otlp(collector) => {
                let mut variables = collector.variables();
                variables.push(variable("OOM_WITNESS_SINKS", "otlp".into()));
                variables
            }
        }
    }

    /// All points that it has received. `lines` is what the extension has written.
    pub(crate) fn points(&mut self, lines: &[Line]) -> io::Result<Vec<Point>> {
        match self {
            Self::Emf => emf::points(lines),
            Self::Datadog(intake, _) => Ok(intake.received()),
            Self::Statsd(server, ..) => server.points(),
            Self::Otlp(collector) => collector.points(),
        }
    }
}

/// A random word that must not appear in anything that is written.
pub(crate) fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}
