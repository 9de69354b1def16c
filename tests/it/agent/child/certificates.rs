//! Certificates: those of `SSL_CERT_FILE`, and those of the server.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{ChildVerdict, point, send};

/// A device, a folder, a pipe that nobody writes to, and a file that is too large are refused at
/// once.
#[test]
fn only_a_regular_file_of_at_most_1_mib_holds_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let large = folder.path().join("large");
    fs::write(&large, vec![b'\n'; 1024 * 1024 + 1]).expect("a file");
    for path in ["/dev/zero", "/dev/null", "/", &pipe.to_string_lossy(), &large.to_string_lossy()] {
        let why = "SSL_CERT_FILE: it takes a regular file of at most 1 MiB";
        let run = send("https://localhost:1", &[("SSL_CERT_FILE", path)]);
        run.assert_verdict(ChildVerdict::Refused, why);
    }
}

/// Starts a TLS server on loopback. It sends this many certificates with this many names each, and
/// takes one request. Returns its URL and the size of its certificates.
pub(super) fn start_server(certificates: usize, names: usize, ca_file: &Path) -> (String, usize) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(ca_file, ca.self_signed(&ca_key).expect("an authority").pem()).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let name = |number: usize| format!("host-{number:012}.example");
    let mut names: Vec<String> = (0..names).map(name).collect();
    names.push("localhost".into());
    let leaf = CertificateParams::new(names).expect("names");
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    let chain = vec![leaf.der().clone(); certificates];
    let size = certificates * leaf.der().len();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a configuration");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let connection = ServerConnection::new(Arc::new(config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        // Until the whole body is here, or the child gives up.
        while !request.ends_with(point(0).as_bytes()) {
            let Ok(count @ 1..) = stream.read(&mut piece) else { return };
            request.extend_from_slice(&piece[..count]);
        }
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    });
    (url, size)
}

/// A larger one is a failed send.
#[test]
fn certificates_of_any_size_that_tls_allows_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let ca = file.to_string_lossy().into_owned();
    for (certificates, names, at_least, verdict, why) in [
        (1, 1, 100, ChildVerdict::Taken, ""),
        (1, 2250, 60_000, ChildVerdict::Taken, ""),
        (2, 1300, 68_000, ChildVerdict::NotTaken, "datadog has not taken a metric yet"),
    ] {
        let (url, size) = start_server(certificates, names, &file);
        assert!(size >= at_least, "{size}");
        send(&url, &[("SSL_CERT_FILE", &ca)]).assert_verdict(verdict, why);
    }
}

/// Without SSL_CERT_FILE the roots are Mozilla's, which do not include the server's.
#[test]
fn a_certificate_that_no_root_has_signed_is_not_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, _) = start_server(1, 1, &folder.path().join("ca.pem"));
    send(&url, &[]).assert_verdict(ChildVerdict::NotTaken, "UnknownIssuer");
}
