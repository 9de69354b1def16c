//! Variables. For a value that makes no sense the agent warns once, uses the default and goes on.
//!
//! Each variable's values are tested in `agent/src/config/`, and any bytes by `fuzz/config`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use sandbox::{Intake, ShutdownReason};
use serde_json::Value;

use super::support::binary::binary;
use super::support::bodies::{OOM, oom_body};
use super::support::ports::free_port;
use super::support::receiver::Receiver;
use super::support::sandboxed_agent::{SandboxedAgent, SandboxedOutput};
use super::support::script::Script;

/// Runs an agent with these variables. One invocation runs out of memory, and EMF reports it.
fn run_with(variables: &[(&str, &str)]) -> SandboxedOutput {
    let add =
        |builder: sandbox::Builder, (name, value): &(&str, &str)| builder.variable(name, *value);
    let mut agent = SandboxedAgent::start_with(|builder| variables.iter().fold(builder, add));
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.end(1)
}

#[test]
fn each_bad_value_is_one_warning() {
    for (name, value) in [
        ("OOM_WITNESS_SUSPECTED", "maybe"),
        ("OOM_WITNESS_SINKS", "emf,nowhere"),
        ("OOM_WITNESS_SINKS", "datadog"),
        ("OOM_WITNESS_LOG", "loud"),
        ("OOM_WITNESS_LOGS", "1"),
        ("OOM_WITNESS_NAMESPACE", "a\"b"),
        ("DD_API_KEY", "a key of two\nlines"),
    ] {
        let output = run_with(&[(name, value)]);
        output.assert_once("WARN").assert_once(&format!("{name} is not used"));
        assert_eq!(output.metrics()[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"], "OomWitness");
    }
}

#[test]
fn empty_values_count_as_not_set() {
    let names =
        ["SUSPECTED", "SINKS", "LOG", "LOGS", "NAMESPACE"].map(|n| format!("OOM_WITNESS_{n}"));
    let mut variables: Vec<_> = names.iter().map(|name| (name.as_str(), " ")).collect();
    variables.extend([("DD_API_KEY", ""), ("DD_URL", ""), ("DD_SITE", "")]);
    run_with(&variables).assert_no_warning();
}

#[test]
fn many_bad_values_at_once_are_one_warning_each() {
    let output = run_with(&[
        ("OOM_WITNESS_SUSPECTED", "?"),
        ("OOM_WITNESS_SINKS", "?,?,?"),
        ("OOM_WITNESS_LOG", "?"),
        ("OOM_WITNESS_LOGS", "?"),
        ("OOM_WITNESS_NAMESPACE", "?"),
        ("DD_API_KEY", "\u{7f}"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "unheard-of"),
    ]);
    assert_eq!(output.stderr_lines("is not used").len(), 6);
}

/// The agent sends nothing to such an address, and uses EMF instead.
#[test]
fn an_invalid_intake_address_is_one_warning() {
    for (name, value) in [
        ("DD_URL", "ftp://example.com"),
        ("DD_URL", "http://"),
        ("DD_URL", "https://a/b?c"),
        ("DD_DD_URL", "not an address"),
        ("DD_SITE", "datadoghq.com/../"),
        ("DD_SITE", "a b"),
    ] {
        run_with(&[("DD_API_KEY", "k"), (name, value)])
            .assert_once("WARN")
            .assert_once(&format!("{name} is not"));
    }
}

#[test]
fn an_invalid_port_gives_way_to_the_default() {
    for value in ["0", "-1", "65536", "x", "61 61", "6161.0", "9001"] {
        let mut script = Script::start(&[("OOM_WITNESS_PORT", value)]);
        script.accept_registration();
        script.accept_subscription();
        // The default port, or the next free one if another agent has it.
        assert!((6161..6261).contains(&script.port), "{value}: {}", script.port);
        script.wait_for_next();
        script.post(oom_body());
        script.invoke();
        let takes = "it takes a port from 1 to 65535 other than 9001";
        script.end(1).assert_once(&format!("OOM_WITNESS_PORT is not used: {takes}"));
    }
}

#[test]
fn a_taken_port_gives_way_to_the_next_free_one() {
    let taken = free_port();
    let _holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, taken)).expect("a free port");
    let output = run_with(&[("OOM_WITNESS_PORT", &taken.to_string())]);
    output
        .assert_once("WARN")
        .assert_once(&format!("cannot listen for telemetry on port {taken}, using "));
}

/// The next process listens on the port that the first one found, without a line.
#[test]
fn a_taken_port_is_logged_once() {
    let taken = free_port();
    let _holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, taken)).expect("a free port");
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder.variable("OOM_WITNESS_PORT", taken.to_string())
    });
    agent.invoke("A");
    agent.restart(ShutdownReason::Spindown);
    agent.invoke("B");
    agent.post_scenario(OOM);
    agent
        .end(1)
        .assert_once("WARN")
        .assert_once(&format!("cannot listen for telemetry on port {taken}, using "));
}

#[test]
fn a_value_that_is_not_utf8_is_one_warning_without_the_value() {
    for name in ["OOM_WITNESS_SINKS", "OOM_WITNESS_LOG", "DD_API_KEY", "DD_TAGS", "AWS_REGION"] {
        let mut shell = Command::new("/bin/sh");
        let export = format!("export {name}=$(printf 'secret\\377'); exec \"$0\"");
        shell.arg("-c").arg(export).arg(binary());
        let mut script = Script::start_by(shell, Stdio::piped(), &[]).make_ready();
        script.post(oom_body());
        script.invoke();
        let output = script.end(1);
        output.assert_warnings(1).assert_once(&format!("{name} is not used: it takes "));
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
}

/// Datadog's own extension sends the same metric.
#[test]
fn beside_datadogs_own_extension_nothing_goes_to_datadog_unless_asked() {
    let extensions = tempfile::tempdir().expect("a folder");
    fs::write(extensions.path().join("datadog-agent"), "").expect("a file");
    let folder = extensions.path().to_string_lossy().into_owned();
    for (sinks, metrics, points, datagrams) in
        [("", 0, 0, 1), ("emf", 1, 0, 0), ("datadog", 0, 1, 0)]
    {
        let (intake, receiver) = (Intake::start().expect("an intake"), Receiver::start());
        let mut agent = SandboxedAgent::start_with(|builder| {
            builder
                .variable("OOM_WITNESS_EXTENSIONS", &folder)
                .variable("OOM_WITNESS_SINKS", sinks)
                .variable("DD_API_KEY", "the-key")
                .variable("DD_URL", intake.http_url())
                .variable("DD_DOGSTATSD_PORT", receiver.port().to_string())
        });
        agent.invoke("A");
        agent.post_scenario(OOM);
        agent.invoke("B");
        let output = agent.end(metrics);
        assert_eq!(intake.requests().len(), points, "{sinks}");
        assert_eq!(receiver.take().len(), datagrams, "{sinks}");
        output.assert_no_warning();
        let hints = output.stderr_lines("OOM_WITNESS_SINKS=datadog changes that");
        assert_eq!(hints.len(), usize::from(sinks.is_empty()), "{sinks}: {hints:?}");
    }
}

/// 3,250 bytes of tags are more than fit into a request. The metric has those that fit.
#[test]
fn tags_that_do_not_fit_are_left_out_with_one_warning() {
    let intake = Intake::start().expect("an intake");
    let tags = "team:memory,".repeat(271);
    let tags = &tags[..3250];
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
            .variable("DD_TAGS", tags)
    });
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.invoke("B");
    agent
        .end(0)
        .assert_once("WARN")
        .assert_once("DD_TAGS is too long: 198 of its tags are left out");
    let requests = intake.requests();
    assert_eq!(requests.len(), 1);
    let body: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    let tags = body["series"][0]["tags"].as_array().expect("tags");
    assert_eq!(tags.iter().filter(|tag| **tag == "team:memory").count(), 73);
}

/// The warning comes at the start, and has no secret.
#[test]
fn an_unusable_proxy_or_an_exposed_key_is_one_warning() {
    let exposed = "DD_URL is not https and leads to another machine: the API key can be read";
    let socks = "ALL_PROXY is not used: it takes the address of an http or https proxy; requests \
                 go without it";
    let proxy = ("ALL_PROXY", "socks5://user:the-password@proxy.example:1080");
    for (variables, warnings) in [
        (vec![("DD_URL", "http://intake.example")], &[exposed][..]),
        (vec![("DD_URL", "https://intake.example"), proxy], &[socks]),
        (vec![("DD_URL", "http://intake.example"), proxy], &[exposed, socks]),
        (vec![("DD_URL", "http://127.0.0.1:1"), proxy], &[]),
        (vec![("DD_URL", "http://intake.example"), proxy, ("OOM_WITNESS_SINKS", "emf")], &[]),
    ] {
        let variables = [&variables[..], &[("DD_API_KEY", "the-key")]].concat();
        let output = Script::start_ready(&variables).end(0);
        output.assert_warnings(warnings.len());
        for line in warnings {
            output.assert_once(line);
        }
        assert!(!output.stderr.contains("the-key"), "{}", output.stderr);
        assert!(!output.stderr.contains("the-password"), "{}", output.stderr);
    }
}

#[test]
fn the_agents_own_lines_can_be_turned_off() {
    let output = run_with(&[("OOM_WITNESS_LOG", "off"), ("OOM_WITNESS_LOGS", "?")]);
    assert!(output.stderr_lines("").is_empty(), "{:?}", output.stderr_lines(""));
}

#[test]
fn the_user_can_choose_the_namespace() {
    let output = run_with(&[("OOM_WITNESS_NAMESPACE", " Team/Memory #1 ")]);
    let metric = output.metrics().remove(0);
    assert_eq!(metric["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Team/Memory #1");
    output.assert_no_warning();
}
