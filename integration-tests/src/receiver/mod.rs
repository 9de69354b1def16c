//! The receivers of an extension's metrics: one for each sink, on loopback.
//!
//! In: what the extension sends. Out: the points that a receiver has counted, with all that it
//! knows about them. A receiver decides nothing: the suite says what should have arrived.

mod collector;
mod emf;
mod statsd;

use std::fmt;
use std::io;

use clap::ValueEnum;
use serde_json::Value;
use uuid::Uuid;

pub use collector::Collector;
pub use statsd::StatsdServer;

use crate::env::Line;
use crate::identity;
use crate::intake::Intake;
use crate::key_services::{KeyPlace, KeyServices};
use crate::program;

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

/// Where the agent gets the sink's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum KeySource {
    /// A variable.
    Variable,
    /// Secrets Manager.
    Secret,
    /// SSM.
    Parameter,
    /// KMS.
    Kms,
}

/// Where an extension sends its metrics.
pub(crate) struct Receiver {
    server: Server,
    /// What the receiver wants to be sent. Empty: nothing.
    key: String,
    /// The services that keep the key, and the variable that says where.
    services: Option<(KeyServices, &'static str)>,
}

enum Server {
    /// Standard output. There is nothing to start.
    Emf,
    /// The fake intake.
    Datadog(Intake),
    /// A StatsD server, and the names of the sink and of the variable with its port.
    Statsd(StatsdServer, &'static str, &'static str),
    Otlp(Collector),
}

impl Receiver {
    /// The receiver of this sink. It refuses what it is sent until it is started.
    pub(crate) fn new(sink: SinkChoice, source: KeySource) -> io::Result<Self> {
        let server = match sink {
            SinkChoice::Emf => Server::Emf,
            SinkChoice::DatadogHttps => Server::Datadog(Intake::bind()?),
            SinkChoice::Dogstatsd => {
                Server::Statsd(StatsdServer::new()?, "dogstatsd", "DD_DOGSTATSD_PORT")
            }
            SinkChoice::Statsd => Server::Statsd(StatsdServer::new()?, "statsd", "STATSD_PORT"),
            SinkChoice::Otlp => Server::Otlp(Collector::new(false)?),
            SinkChoice::OtlpHttps => Server::Otlp(Collector::new(true)?),
        };
        let key = match &server {
            Server::Emf | Server::Statsd(..) => String::new(),
            Server::Datadog(_) => secret(),
            Server::Otlp(collector) => collector.headers(),
        };
        let services = place(&server, source)?.map(|(place, variable)| {
            let services = KeyServices::start(identity::REGION, identity::NAME, &[(place, &key)])?;
            Ok::<_, io::Error>((services, variable))
        });
        Ok(Self { server, services: services.transpose()?, key })
    }

    /// The program that this receiver needs and this machine lacks.
    pub(crate) fn missing_program(sink: SinkChoice, source: KeySource) -> Option<&'static str> {
        if source != KeySource::Variable && !KeyServices::are_installed() {
            return Some("moto");
        }
        let program = match sink {
            SinkChoice::Emf | SinkChoice::DatadogHttps => return None,
            SinkChoice::Dogstatsd | SinkChoice::Statsd => statsd::PROGRAM,
            SinkChoice::Otlp | SinkChoice::OtlpHttps => collector::PROGRAM,
        };
        program::find(program).is_none().then_some(program)
    }

    /// Starts it, and returns when it listens.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        match &mut self.server {
            Server::Emf => Ok(()),
            Server::Datadog(intake) => intake.listen(),
            Server::Statsd(server, ..) => server.start(),
            Server::Otlp(collector) => collector.start(),
        }
    }

    /// The variables by which an extension finds it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = match &self.server {
            Server::Emf => Vec::new(),
            Server::Datadog(intake) => vec![
                ("DD_URL", intake.https_url()),
                ("SSL_CERT_FILE", intake.ca_file().to_string_lossy().into()),
            ],
            Server::Statsd(server, sink, port) => {
                vec![("OOM_WITNESS_SINKS", (*sink).into()), (*port, server.port().to_string())]
            }
            Server::Otlp(collector) => {
                let mut variables = collector.variables();
                variables.push(("OOM_WITNESS_SINKS", "otlp".into()));
                variables
            }
        };
        match (&self.services, &self.server) {
            (Some((services, variable)), _) => {
                variables.push((variable, services.place(0).into()));
                variables.push(("AWS_ENDPOINT_URL", services.url().into()));
                variables.extend(services.permitted().map(|(name, value)| (name, value.into())));
            }
            (None, Server::Datadog(_)) => variables.push(("DD_API_KEY", self.key.clone())),
            (None, Server::Otlp(_)) => {
                variables.push(("OTEL_EXPORTER_OTLP_HEADERS", self.key.clone()));
            }
            (None, _) => {}
        }
        variables.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    /// What no extension may write, beside the variables that are secret.
    pub(crate) fn secrets(&self) -> Vec<String> {
        // Of headers, the value.
        let value = self.key.rsplit('=').next().filter(|value| !value.is_empty());
        value.map(str::to_string).into_iter().collect()
    }

    /// All points that it has received. `lines` is what the extension has written.
    pub(crate) fn points(&mut self, lines: &[Line]) -> io::Result<Vec<Point>> {
        match &mut self.server {
            Server::Emf => emf::points(lines),
            Server::Datadog(intake) => Ok(intake.received_with(&self.key)),
            Server::Statsd(server, ..) => server.points(),
            Server::Otlp(collector) => collector.points(),
        }
    }
}

/// How AWS keeps this server's key, and the variable that says where. `None`: it is a variable.
fn place(server: &Server, source: KeySource) -> io::Result<Option<(KeyPlace, &'static str)>> {
    const HEADERS: &str = "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN";
    Ok(Some(match (server, source) {
        (_, KeySource::Variable) => return Ok(None),
        (Server::Datadog(_), KeySource::Secret) => (KeyPlace::Secret, "DD_API_KEY_SECRET_ARN"),
        (Server::Datadog(_), KeySource::Parameter) => (KeyPlace::Parameter, "DD_API_KEY_SSM_ARN"),
        (Server::Datadog(_), KeySource::Kms) => (KeyPlace::EncryptedByConsole, "DD_KMS_API_KEY"),
        (Server::Otlp(_), KeySource::Secret) => (KeyPlace::Secret, HEADERS),
        (Server::Otlp(_), KeySource::Parameter) => (KeyPlace::Parameter, HEADERS),
        _ => return Err(io::Error::other("this sink has no key from there")),
    }))
}

/// A random word that must not appear in anything that is written.
pub(crate) fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}
