//! The command line, for a human and for the agent itself, which starts its child with it.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};

use super::support::agent_process::AgentProcess;
use super::support::binary::binary;
use super::support::ports::free_port;
use super::support::requests::read_head;

/// Runs the binary with nothing in its environment but these variables.
fn run(arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> (i32, String, String) {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    // It may end before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

#[test]
fn outside_lambda_the_agent_explains_itself() {
    for variables in [&[][..], &[("AWS_LAMBDA_RUNTIME_API", "")], &[("DD_API_KEY", "k")]] {
        let (code, stdout, stderr) = run(&[], variables, b"");
        assert_eq!((code, stdout.as_str()), (2, ""));
        for text in ["AWS Lambda extension", "AWS_LAMBDA_RUNTIME_API", "cargo run --release -p"] {
            assert!(stderr.contains(text), "{text}: {stderr}");
        }
    }
}

#[test]
fn a_malformed_runtime_api_address_is_an_error() {
    for address in [
        "here",
        "localhost",
        "localhost:x",
        "host.example:80",
        "127.0.0.1:x",
        "300.1.1.1:80",
        &"x".repeat(5000),
    ] {
        let mut command = Command::new(binary());
        command.env_clear().env("AWS_LAMBDA_RUNTIME_API", address);
        command.env("OOM_WITNESS_PORT", free_port().to_string());
        command.env("OOM_WITNESS_STATE", "/dev/null/none");
        AgentProcess::start(command, Stdio::piped())
            .wait_for_end(1, 0)
            .assert_once("AWS_LAMBDA_RUNTIME_API is not an address");
    }
}

#[test]
fn the_version_is_printed() {
    for argument in ["--version", "-V"] {
        let version = concat!("oom-witness ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(run(&[argument], &[], b""), (0, version.into(), String::new()));
    }
}

#[test]
fn the_help_names_the_variables() {
    for argument in ["--help", "-h"] {
        let (code, stdout, stderr) = run(&[argument], &[], b"");
        assert_eq!((code, stderr.as_str()), (0, ""));
        for text in [
            "Usage:",
            "--version",
            "OOM_WITNESS_SINKS",
            "OOM_WITNESS_PORT",
            "OOM_WITNESS_EXTENSIONS",
            "DD_API_KEY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
        ] {
            assert!(stdout.contains(text), "{text}: {stdout}");
        }
    }
}

#[test]
fn an_unknown_command_prints_the_help() {
    for arguments in
        [&["--nonsense"][..], &["run"], &["send"], &["send", ""], &["-", "x", "y", "z"]]
    {
        let (code, stdout, stderr) = run(arguments, &[], b"");
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains("there is no such command"), "{stderr}");
        assert!(stderr.contains("Usage:"), "{stderr}");
    }
}

/// Checks that the child refuses to send, with one line that says why.
fn check_refused(sink: &str, variables: &[(&str, &str)], why: &str) {
    let (code, stdout, stderr) = run(&["send", sink], variables, b"{}");
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(why), "{why}: {stderr}");
}

#[test]
fn a_send_that_cannot_work_is_refused() {
    check_refused("nowhere", &[], "there is no such sink");
    check_refused("emf", &[], "there is no such sink");
    check_refused("datadog", &[], "DD_API_KEY has to be set");
    check_refused("datadog", &[("DD_API_KEY", "\t")], "DD_API_KEY has to be set");
    let key = ("DD_API_KEY", "k");
    check_refused("datadog", &[key, ("DD_URL", "mailto:a")], "DD_URL has to be");
    check_refused("datadog", &[key, ("DD_SITE", "a/b")], "DD_SITE has to be");
    let url = ("DD_URL", "https://127.0.0.1:1");
    check_refused("datadog", &[key, url, ("SSL_CERT_FILE", "/nowhere")], "SSL_CERT_FILE");
    check_refused("datadog", &[key, url, ("SSL_CERT_FILE", "/proc/self/status")], "no certificate");
}

/// Nothing has been sent, so the agent may send it again.
#[test]
fn a_send_without_a_listener_is_not_taken() {
    let unused = free_port();
    for url in [format!("http://127.0.0.1:{unused}"), "https://name.invalid".into()] {
        let variables = [("DD_API_KEY", "k"), ("DD_URL", url.as_str())];
        let (code, stdout, stderr) = run(&["send", "datadog"], &variables, b"{}");
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
        let again = run(&["send", "datadog", "again"], &variables, b"{}");
        assert_eq!(
            again,
            (1, String::new(), String::new()),
            "the first failure is logged, not the second"
        );
    }
}

/// The peer takes the request but does not speak HTTP. Nobody knows what it did with it.
#[test]
fn a_send_to_a_peer_without_http_is_unknown() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = read_head(&mut stream);
        std::io::Read::read_exact(&mut stream, &mut [0; b"the body".len()]).expect("a body");
        stream.write_all(b"220 mail.example.com ESMTP\r\n").expect("an answer");
    });
    let variables = [("DD_API_KEY", "k"), ("DD_URL", url.as_str())];
    let (code, stdout, stderr) = run(&["send", "datadog"], &variables, b"the body");
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (2, "\n", 1), "{stderr}");
    assert!(stderr.contains("may not have taken"), "{stderr}");
    peer.join().expect("the peer");
}
