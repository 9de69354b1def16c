//! The fake intake, over HTTP and over TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use sandbox::{Intake, IntakeAnswer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};

const BODY: &str = concat!(
    r#"{"series":[{"metric":"aws.lambda.enhanced.out_of_memory","points":[[1,[1.0]]],"#,
    r#""type":"distribution"}]}"#
);

fn exchange(mut stream: impl Read + Write) -> String {
    let request = format!(
        "POST /api/v1/distribution_points HTTP/1.1\r\nHost: x\r\nDD-API-KEY: k\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    // A reset ends the answer early.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn plain(intake: &Intake) -> String {
    let url = intake.http_url();
    exchange(TcpStream::connect(url.trim_start_matches("http://")).expect("a connection"))
}

#[test]
fn the_intake_counts_points() {
    let intake = Intake::start().expect("an intake");
    let answer = plain(&intake);
    assert!(
        answer.starts_with("HTTP/1.1 202") && answer.ends_with(r#"{"status":"ok"}"#),
        "{answer}"
    );
    let requests = intake.requests();
    assert_eq!(requests[0].path, "/api/v1/distribution_points");
    assert!(requests[0].headers.contains(&("dd-api-key".into(), "k".into())));
    assert!((intake.points() - 1.0).abs() < f64::EPSILON);
}

#[test]
fn the_intake_answers_as_the_test_wants() {
    let intake = Intake::start().expect("an intake");
    intake.answer_next(IntakeAnswer::status(429));
    intake.answer_next(IntakeAnswer::reset());
    assert!(plain(&intake).starts_with("HTTP/1.1 429"));
    assert_eq!(plain(&intake), "");
    assert!(plain(&intake).starts_with("HTTP/1.1 202"));
    // What was refused is not counted.
    assert!((intake.points() - 1.0).abs() < f64::EPSILON);
    let statuses: Vec<u16> = intake.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [429, 0, 202]);
}

#[test]
fn the_intake_speaks_tls_with_its_own_authority() {
    let intake = Intake::start().expect("an intake");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(intake.ca_file()).expect("a file")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let port = intake.https_url().rsplit(':').next().expect("a port").to_string();
    let tcp = TcpStream::connect(format!("127.0.0.1:{port}")).expect("a connection");
    assert!(exchange(StreamOwned::new(connection, tcp)).starts_with("HTTP/1.1 202"));
    assert!(intake.requests()[0].tls);
}
