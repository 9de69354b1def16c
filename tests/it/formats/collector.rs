//! A real OpenTelemetry Collector takes what core writes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use oom_witness_core::Metric;
use oom_witness_core::format::otlp::{OtlpOptions, write};
use sandbox::Collector;

use super::{detection, source};

/// `.ci/setup` builds the collector.
#[test]
fn the_collector_takes_each_request_as_one_count() {
    let mut collector = Collector::new(false).expect("a collector");
    let started = collector.start();
    if started.as_ref().is_err_and(|why| why.kind() == ErrorKind::NotFound) {
        let is_required = std::env::var("OOM_WITNESS_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!is_required, "there is no collector");
        eprintln!("skipped: there is no collector");
        return;
    }
    started.expect("a collector");
    let [(_, endpoint)] = collector.variables().try_into().expect("one variable");
    let header = collector.headers();
    let (name, key) = header.split_once('=').expect("a header");
    let address = endpoint.strip_prefix("http://").expect("no TLS");
    let (detection, source) = (detection("A"), source("f"));
    let mut buffer = [0; 4096];
    let metric = Metric::new(&detection, &source);
    let length = write(&[metric], &OtlpOptions::default(), &mut buffer).expect("it fits");
    let post = |key: &str| {
        let head = format!(
            "POST /v1/metrics HTTP/1.0\r\nHost: {address}\r\n{name}: {key}\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(&[head.as_bytes(), &buffer[..length]].concat()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[9..12]).into_owned()
    };
    assert_eq!([post(key), post("another"), post(key)], ["200", "503", "200"]);
    let points = collector.points().expect("points");
    assert_eq!(points.len(), 2, "{points:?}");
    for point in points {
        assert!((point.value - 1.0).abs() < f64::EPSILON, "{point}");
        for label in ["faas.name:f", "oom_witness.confidence:confirmed"] {
            assert!(point.labels.iter().any(|known| known == label), "{point}");
        }
    }
}
