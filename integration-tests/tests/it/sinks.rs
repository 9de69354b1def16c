//! The suite `sinks` and its receivers. A case must fail if a receiver has counted two or none.

use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;

use sandbox::{Collector, Point, StatsdServer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::{binary, place, skip};

/// Whether the receiver has started. Skipped if this machine does not have its program.
fn started(test: &str, result: io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            skip(test, &missing.to_string());
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn sum(points: &[Point]) -> f64 {
    points.iter().map(|point| point.value).sum()
}

#[test]
fn the_statsd_server_counts_every_datagram_once() {
    let test = "the_statsd_server_counts_every_datagram_once";
    for kind in ["c", "d|#confidence:confirmed"] {
        let mut server = StatsdServer::new().expect("a port");
        assert_eq!(server.points().expect("none yet"), []);
        let result = server.start();
        if !started(test, result) {
            return;
        }
        assert_eq!(server.points().expect("points"), []);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for (name, expected) in
            [("oom_witness.out_of_memory", 1.0), ("oom_witness.out_of_memory", 2.0), ("x", 2.0)]
        {
            let datagram = format!("{name}:1|{kind}");
            let receiver = ("127.0.0.1", server.port());
            socket.send_to(datagram.as_bytes(), receiver).expect("a datagram");
            let points = server.points().expect("points");
            assert!((sum(&points) - expected).abs() < f64::EPSILON, "{datagram}: {points:?}");
        }
    }
}

/// Posts one point with this key, and returns the status.
fn post(stream: impl io::Read + Write, key: &str) -> String {
    let body = concat!(
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":["#,
        r#"{"name":"aws.lambda.enhanced.out_of_memory","sum":{"aggregationTemporality":1,"#,
        r#""isMonotonic":true,"dataPoints":[{"asInt":"1","#,
        r#""attributes":[{"key":"k","value":{"stringValue":"v"}}]}]}}]}]}]}"#
    );
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).expect("a request");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer");
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[test]
fn the_collector_counts_every_request_with_its_key_with_and_without_tls() {
    let test = "the_collector_counts_every_request_with_its_key_with_and_without_tls";
    for has_tls in [false, true] {
        let mut collector = Collector::new(has_tls).expect("a collector");
        let variables = collector.variables();
        let value = |name: &str| {
            let variable = variables.iter().find(|variable| variable.0 == name);
            variable.map(|(_, value)| value.clone()).expect(name)
        };
        let url = value("OTEL_EXPORTER_OTLP_ENDPOINT");
        let address = url.rsplit('/').next().expect("an address").to_string();
        TcpStream::connect(&address).expect_err("it refuses connections until it is started");
        let result = collector.start();
        if !started(test, result) {
            return;
        }
        let header = collector.headers();
        let key = header.strip_prefix("x-api-key=").expect("a key");
        let send = |key: &str| {
            let tcp = TcpStream::connect(&address).expect("a connection");
            if has_tls {
                post(encrypted(tcp, &value("OTEL_EXPORTER_OTLP_CERTIFICATE")), key)
            } else {
                post(tcp, key)
            }
        };
        assert_eq!([send(key), send("another"), send(key)], ["200", "503", "200"]);
        let point = Point { value: 1.0, labels: vec!["k:v".into()] };
        assert_eq!(collector.points().expect("points"), [point.clone(), point]);
    }
}

fn encrypted(tcp: TcpStream, ca_file: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).expect("a file")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), tcp)
}

/// A run of the binary beside the test extension.
fn sandbox(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).args(["--extension", "test"]).output().expect("a run")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// The test extension writes EMF whatever the sink is, so the other receivers count none. Its lines
/// lack the dimensions that the agent's have.
#[test]
fn a_case_fails_if_its_receiver_has_counted_none_or_something_else() {
    let test = "a_case_fails_if_its_receiver_has_counted_none_or_something_else";
    if place(test).is_none() {
        return;
    }
    for (case, problem) in [
        ("builtin datadog-late", "builtin datadog-late, time 1: counted 0 of 1"),
        ("builtin emf", "builtin emf, time 1: no FunctionName:sandbox-function in: 1 "),
    ] {
        let output = sandbox(&["suite", "sinks", "--filter", case]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(problem), "{}", said(&output));
    }
}

#[test]
fn a_run_fails_if_its_count_is_not_the_expected_one() {
    let test = "a_run_fails_if_its_count_is_not_the_expected_one";
    if place(test).is_none() {
        return;
    }
    for (expected, code) in [("1", 1), ("2", 0), ("3", 1)] {
        let arguments = ["run", "builtin", "--invocations", "2", "--expect", expected];
        let output = sandbox(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    }
}

#[test]
fn a_run_fails_if_the_extension_writes_its_key() {
    for (word, code, is_found) in [("quiet", 0, false), ("tell-key", 1, true)] {
        let word = format!("SANDBOX_TEST_EXTENSION={word}");
        let run = ["run", "builtin", "--unlimited", "--behavior", "succeed", "--env", &word];
        let output = sandbox(&[&run[..], &["--sink", "datadog-https"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert_eq!(said(&output).contains("a secret is in a line: key: "), is_found);
    }
}

#[test]
fn a_run_fails_if_the_key_is_in_a_command_line() {
    if place("a_run_fails_if_the_key_is_in_a_command_line").is_none() {
        return;
    }
    // The test extension is this subcommand of the sandbox.
    let key = ["--sink", "datadog-https", "--env", "DD_API_KEY=__extension"];
    let output = sandbox(&[&["run", "builtin", "--behavior", "succeed"], &key[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("a secret is in a command line: "), "{}", said(&output));
}

/// Not even with `--verbose`, which logs requests and answers.
#[test]
fn the_sandbox_writes_no_key() {
    let key = "DD_API_KEY=0123456789abcdef";
    let run = ["run", "builtin", "--unlimited", "--behavior", "succeed", "--verbose"];
    let output = sandbox(&[&run[..], &["--sink", "datadog-https", "--env", key]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("0123456789abcdef"), "{}", said(&output));
}
