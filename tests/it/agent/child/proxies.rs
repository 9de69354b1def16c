//! Requests through a proxy of the user.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use sandbox::Intake;

use super::certificates::start_server;
use super::{ChildRun, ChildVerdict, send, send_to};
use crate::agent::support::ports::free_port;
use crate::agent::support::requests::read_head;

/// Starts a proxy. It connects to any address, or refuses. Returns its URL and the heads of the
/// requests that it receives.
fn start_proxy(answer: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let head = read_head(&mut stream);
            let target = head.split(' ').nth(1).expect("a target").to_owned();
            let _ = sender.send(head);
            let _ = stream.write_all(answer.as_bytes());
            if answer.contains(" 200 ") {
                // The target has a name that nothing resolves. Its port is right.
                let (_, port) = target.rsplit_once(':').expect("a port");
                let port: u16 = port.parse().expect("a port");
                let to = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the target");
                connect_both(&stream, &to);
            }
        }
    });
    (url, receiver)
}

/// Copies both ways until both have ended.
fn connect_both(one: &TcpStream, other: &TcpStream) {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(move || copy(one, other));
        scope.spawn(move || copy(other, one));
    });
}

/// The first variable with the address of an http proxy counts, with its user and password. A
/// variable for http says nothing of https.
#[test]
fn a_request_goes_through_the_users_proxy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let ca = file.to_string_lossy().into_owned();
    let (proxy, heads) = start_proxy("HTTP/1.1 200 Connection established\r\n\r\n");
    let with_user = proxy.replace("http://", "http://us%40er:pass@");
    let socks = ("https_proxy", "socks5://127.0.0.1:1");
    let nobody = ("http_proxy", "http://127.0.0.1:1");
    let send_otlp = |url: &str, variables: &[(&str, &str)]| {
        let endpoint = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url);
        send_to("otlp", "http://unused.example", &[variables, &[endpoint]].concat())
    };
    for (variables, has_user) in [
        (vec![("HTTPS_PROXY", proxy.as_str()), nobody], false),
        (vec![("https_proxy", with_user.as_str())], true),
        (vec![socks, ("ALL_PROXY", &proxy), ("NO_PROXY", "other.example")], false),
    ] {
        for send in [&send as &dyn Fn(&str, &[(&str, &str)]) -> ChildRun, &send_otlp] {
            let (url, _) = start_server(1, 1, &file);
            let url = url.replace("localhost", "host-000000000000.example");
            let variables = [&variables[..], &[("SSL_CERT_FILE", ca.as_str())]].concat();
            send(&url, &variables).assert_verdict(ChildVerdict::Taken, "");
            let head = heads.try_recv().expect("a request to the proxy");
            assert!(head.starts_with("CONNECT host-000000000000.example:"), "{head}");
            // `us@er:pass`
            assert_eq!(head.contains("Basic dXNAZXI6cGFzcw=="), has_user, "{head}");
            assert!(!head.contains("the-key"), "{head}");
        }
    }
}

#[test]
fn a_request_without_tls_goes_through_the_proxy_for_http() {
    let intake = Intake::start().expect("an intake");
    let url = intake.http_url().replace("127.0.0.1", "intake.example");
    let (proxy, heads) = start_proxy("HTTP/1.1 200 Connection established\r\n\r\n");
    let nobody = ("HTTPS_PROXY", "http://127.0.0.1:1");
    send(&url, &[("HTTP_PROXY", &proxy), nobody]).assert_verdict(ChildVerdict::Taken, "");
    let head = heads.try_recv().expect("a request to the proxy");
    assert!(head.starts_with("CONNECT intake.example:"), "{head}");
    assert_eq!(intake.requests().len(), 1);
}

#[test]
fn a_request_to_this_machine_goes_through_no_proxy() {
    let intake = Intake::start().expect("an intake");
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let (proxy, heads) = start_proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    for url in [intake.http_url(), intake.https_url()] {
        for name in ["ALL_PROXY", "HTTPS_PROXY", "http_proxy"] {
            let variables = [(name, proxy.as_str()), ("SSL_CERT_FILE", &ca)];
            send(&url, &variables).assert_verdict(ChildVerdict::Taken, "");
        }
    }
    assert_eq!(intake.requests().len(), 6);
    assert!(heads.try_recv().is_err(), "the proxy got a request");
}

#[test]
fn a_proxy_that_refuses_or_is_missing_has_taken_nothing() {
    let (url, heads) = start_proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let nobody = format!("http://user:the-password@127.0.0.1:{}", free_port());
    for proxy in [&url, &nobody] {
        let run = send("https://intake.example", &[("HTTPS_PROXY", proxy)]);
        run.assert_verdict(ChildVerdict::NotTaken, "datadog has");
        assert!(!run.stderr.contains("the-password"), "{}", run.stderr);
    }
    assert!(heads.try_recv().is_ok_and(|head| head.starts_with("CONNECT intake.example:443 ")));
}
