//! The command line, for a human and for the agent itself, which starts its child with it.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};

use sandbox::Intake;
use serde_json::Value;

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

/// Everything that `--check` shows of a configuration with mistakes and secrets.
#[test]
fn a_check_shows_what_each_variable_was_taken_for_and_no_secret() {
    let variables = [
        ("DD_API_KEY", "the-key"),
        ("DD_SITE", "datadoghq.eu"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=the-token"),
        ("HTTPS_PROXY", "http://user:the-password@proxy.example:3128"),
        ("NO_PROXY", "collector.example"),
        ("OOM_WITNESS_PORT", "9001"),
        ("OOM_WITNESS_SUSPECTED", "once"),
        ("OOM_WITNESS_EXTENSIONS", "off"),
    ];
    let (code, stdout, stderr) = run(&["--check"], &variables, b"");
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    for line in [
        "    DD_API_KEY = (hidden, length 7)",
        "    DD_SITE = datadoghq.eu",
        "    OTEL_EXPORTER_OTLP_HEADERS = (hidden, length 17)",
        "    HTTPS_PROXY = http://(hidden)@proxy.example:3128",
        "    OOM_WITNESS_PORT = 9001",
        "    OOM_WITNESS_PORT is not used: it takes a port from 1 to 65535 other than 9001, which is \
         Lambda's; the default is 6161",
        "    function: none, since this is not Lambda",
        "    telemetry: on port 6161, with the function's log lines",
        "    suspected detections: once",
        "    datadog: used, since its variables are set",
        "        POST https://api.datadoghq.eu/api/v1/distribution_points",
        "        header DD-API-KEY",
        "        through http://(hidden)@proxy.example:3128",
        "    otlp: used, since its variables are set",
        "        POST http://collector.example:4318/v1/metrics",
        "        header x-token",
        "        without a proxy",
        "    emf: not used, since nothing asks for it",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{line}: {stdout}");
    }
    for secret in ["the-key", "the-token", "the-password"] {
        assert!(!stdout.contains(secret), "{secret}: {stdout}");
    }
}

/// Why each sink is used or not, and the exit code.
#[test]
fn a_check_says_why_a_sink_is_used_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("datadog-agent"), "").expect("a file");
    let extensions = folder.path().to_string_lossy().into_owned();
    let here = ("OOM_WITNESS_EXTENSIONS", extensions.as_str());
    let none = ("OOM_WITNESS_EXTENSIONS", "off");
    let key = ("DD_API_KEY", "k");
    for (variables, expected, line) in [
        (vec![none], 0, "emf: used, since no other sink is configured"),
        (vec![none], 0, "datadog: not used, since a variable that it needs is not set"),
        (vec![none, key], 0, "emf: not used, since nothing asks for it"),
        (
            vec![here, key],
            0,
            "datadog: not used, since its own extension is here and counts the same metric",
        ),
        (vec![here], 0, "dogstatsd: used, since the extension that it writes to is here"),
        (
            vec![none, ("OOM_WITNESS_SINKS", "emf")],
            0,
            "emf: used, since OOM_WITNESS_SINKS names it",
        ),
        (
            vec![none, key, ("OOM_WITNESS_SINKS", "emf")],
            0,
            "datadog: not used, since OOM_WITNESS_SINKS does not name it",
        ),
        (
            vec![none, key, ("DD_SITE", "not a site")],
            1,
            "datadog: not used, since DD_SITE has to be a site such as datadoghq.eu",
        ),
        (
            vec![none, key, ("SSL_CERT_FILE", "/nowhere")],
            1,
            "    SSL_CERT_FILE: No such file or directory (os error 2)",
        ),
    ] {
        let (code, stdout, stderr) = run(&["--check"], &variables, b"");
        assert_eq!((code, stderr.as_str()), (expected, ""), "{stdout}");
        let line = format!("    {line}");
        assert!(stdout.lines().any(|printed| printed == line), "{line}: {stdout}");
    }
}

/// A count of 0 under the real name, so that no alarm goes off.
#[test]
fn a_check_can_send_a_test_metric_to_each_sink() {
    let intake = Intake::start().expect("an intake");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let variables = [
        ("OOM_WITNESS_SINKS", "datadog,otlp,emf"),
        ("DD_API_KEY", "the-key"),
        ("DD_URL", &intake.http_url()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody),
    ];
    let (code, stdout, stderr) = run(&["--check", "--send"], &variables, b"");
    assert_eq!(code, 3, "{stdout}");
    let is_printed = |start: &str| stdout.lines().any(|line| line.starts_with(start));
    assert!(is_printed("    datadog: taken, in "), "{stdout}");
    assert!(is_printed("    emf: taken, in "), "{stdout}");
    assert!(is_printed("    otlp: not taken, in "), "{stdout}");
    assert!(stderr.contains("otlp has not taken a metric yet: "), "{stderr}");
    assert!(!stdout.contains("the-key") && !stderr.contains("the-key"), "{stdout}{stderr}");
    let requests = intake.requests();
    assert_eq!(requests.len(), 1);
    let body: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    assert_eq!(body["series"][0]["metric"], "aws.lambda.enhanced.out_of_memory");
    assert_eq!(body["series"][0]["points"][0][1][0], 0.0);
    let line = stdout.lines().find(|line| line.starts_with('{')).expect("a line of emf");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["aws.lambda.enhanced.out_of_memory"], 0);
    assert_eq!(
        line["message"],
        "oom-witness: this is a test metric: nothing has run out of memory"
    );
    // Everything is taken.
    let (code, stdout, stderr) = run(&["--check", "--send"], &variables[1..3], b"");
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
}

/// The extension would end such a child too.
#[test]
fn a_check_ends_a_send_that_hangs() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (code, stdout, _) =
        run(&["--check", "--send"], &[("DD_API_KEY", "k"), ("DD_URL", &url)], b"");
    assert_eq!(code, 3, "{stdout}");
    assert!(stdout.contains("    datadog: not taken, in "), "{stdout}");
}
