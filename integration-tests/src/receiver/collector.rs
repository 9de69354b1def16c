//! The OpenTelemetry Collector of `receivers/otel-collector`, which writes what it takes as OTLP's
//! JSON.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;

use serde_json::Value;

use super::{Point, items, secret};
use crate::certificate::ServerCertificate;
use crate::count::METRIC;
use crate::env::ReservedPort;
use crate::program::ServerProgram;

/// A collector on loopback that takes metrics by OTLP/HTTP. It ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    port: ReservedPort,
    has_tls: bool,
    /// It refuses a request without this header `x-api-key`.
    key: String,
    folder: tempfile::TempDir,
    program: Option<ServerProgram>,
}

impl Collector {
    /// One that does not listen yet, with or without TLS.
    ///
    /// # Errors
    /// When there is no port, no folder or no certificate.
    pub fn new(has_tls: bool) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("oom-witness-collector-").tempdir()?;
        let port = ReservedPort::new()?;
        let mut config = CONFIG.replace("PORT", &port.port.to_string());
        if has_tls {
            let ServerCertificate { ca, certificate, key } = ServerCertificate::new()?;
            let file = |name: &str, text: &str| {
                let path = folder.path().join(name);
                fs::write(&path, text).map(|()| path)
            };
            file(CA_FILE, &ca)?;
            let certificate = file("certificate.pem", &certificate.pem())?;
            let key = file("key.pem", &key.serialize_pem())?;
            config = config.replace(
                NO_TLS,
                &format!("tls: {{cert_file: {certificate:?}, key_file: {key:?}}}"),
            );
        }
        fs::write(folder.path().join("config.yaml"), config)?;
        Ok(Self { port, has_tls, key: secret(), folder, program: None })
    }

    /// The headers that a request needs, as `NAME=VALUE`.
    pub fn headers(&self) -> String {
        format!("x-api-key={}", self.key)
    }

    /// `OTEL_EXPORTER_OTLP_ENDPOINT` and what belongs to it, but no headers.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let scheme = if self.has_tls { "https" } else { "http" };
        let mut variables = vec![(ENDPOINT, format!("{scheme}://127.0.0.1:{}", self.port.port))];
        if self.has_tls {
            let file = self.file(CA_FILE).to_string_lossy().into_owned();
            variables.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", file));
        }
        variables
    }

    /// Starts it, and returns when it listens.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if this machine does not have the program.
    pub fn start(&mut self) -> io::Result<()> {
        let (output, log) = (File::create(self.file(OUTPUT))?, File::create(self.file(LOG))?);
        let config = self.file("config.yaml");
        let address = (Ipv4Addr::LOCALHOST, self.port.port);
        let program = ServerProgram::start(
            PROGRAM,
            |command| {
                let command = command.arg("--config").arg(config).env("API_KEY", &self.key);
                command.stdout(output).stderr(log)
            },
            || TcpStream::connect(address).is_ok(),
        );
        let with_log = |error: io::Error| {
            let log = fs::read_to_string(self.file(LOG)).unwrap_or_default();
            io::Error::new(error.kind(), format!("{error}\n{log}"))
        };
        self.program = Some(program.map_err(with_log)?);
        Ok(())
    }

    /// Ends it. Returns the points of the metric in all requests that it has taken.
    ///
    /// # Errors
    /// When what it wrote cannot be read.
    pub fn points(&mut self) -> io::Result<Vec<Point>> {
        if let Some(program) = self.program.take() {
            program.end()?;
        }
        match fs::read_to_string(self.file(OUTPUT)) {
            Ok(requests) => points(&requests),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Each line is a request: resources, which have scopes, which have metrics, which have points.
fn points(requests: &str) -> io::Result<Vec<Point>> {
    let mut all = Vec::new();
    for request in requests.lines() {
        let request: Value = serde_json::from_str(request)?;
        for resource in items(&request["resourceMetrics"]) {
            let scopes = items(&resource["scopeMetrics"]);
            let metrics = scopes.flat_map(|scope| items(&scope["metrics"]));
            let ours = metrics.filter(|metric| metric["name"] == METRIC);
            for point in ours.flat_map(|metric| items(&metric["sum"]["dataPoints"])) {
                // JSON has no 64-bit integers, so they are text.
                let value = point["asInt"].as_str().and_then(|value| value.parse().ok());
                let attributes = [&resource["resource"]["attributes"], &point["attributes"]];
                let labels = attributes.into_iter().flat_map(items).filter_map(|attribute| {
                    let value = attribute["value"]["stringValue"].as_str()?;
                    Some(format!("{}:{value}", attribute["key"].as_str()?))
                });
                all.push(Point { value: value.unwrap_or(f64::NAN), labels: labels.collect() });
            }
        }
    }
    Ok(all)
}

pub(super) const PROGRAM: &str = "oom-witness-otelcol";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const CA_FILE: &str = "ca.pem";
const OUTPUT: &str = "requests.json";
const LOG: &str = "log";
const NO_TLS: &str = "# tls";

const CONFIG: &str = "\
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:PORT
        include_metadata: true
        # tls
exporters:
  stdout:
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    metrics:
      receivers: [otlp]
      exporters: [stdout]
";
