//! Variables that make no sense: the agent warns once, uses the default and goes on.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use sandbox::{Intake, ShutdownReason};
use serde_json::Value;

use super::support::binary::binary;
use super::support::sandboxed_agent::{Life, LifeRecord, OOM, bodies};
use super::support::script::{INVOKE, Script};

/// Runs an agent with these variables. One invocation runs out of memory, and EMF reports it.
fn lived(variables: &[(&str, &str)]) -> LifeRecord {
    let add =
        |builder: sandbox::Builder, (name, value): &(&str, &str)| builder.variable(name, *value);
    let mut life = Life::with(|builder| variables.iter().fold(builder, add));
    life.invoke("A");
    life.tell(OOM);
    life.end(1)
}

#[test]
fn one_warning_for_each_variable() {
    for (name, value) in [
        ("OOM_WITNESS_SUSPECTED", "maybe"),
        ("OOM_WITNESS_SINKS", "emf,nowhere"),
        ("OOM_WITNESS_SINKS", "datadog"),
        ("OOM_WITNESS_LOG", "loud"),
        ("OOM_WITNESS_LOGS", "1"),
        ("OOM_WITNESS_NAMESPACE", "a\"b"),
        ("DD_API_KEY", "a key of two\nlines"),
    ] {
        let said = lived(&[(name, value)]);
        said.once("WARN").once(&format!("{name} is not used"));
        assert_eq!(said.metrics()[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"], "OomWitness");
    }
}

#[test]
fn empty_values_count_as_not_set() {
    let names =
        ["SUSPECTED", "SINKS", "LOG", "LOGS", "NAMESPACE"].map(|n| format!("OOM_WITNESS_{n}"));
    let mut variables: Vec<_> = names.iter().map(|name| (name.as_str(), " ")).collect();
    variables.extend([("DD_API_KEY", ""), ("DD_URL", ""), ("DD_SITE", "")]);
    lived(&variables).quietly();
}

#[test]
fn all_of_them_at_once() {
    let said = lived(&[
        ("OOM_WITNESS_SUSPECTED", "?"),
        ("OOM_WITNESS_SINKS", "?,?,?"),
        ("OOM_WITNESS_LOG", "?"),
        ("OOM_WITNESS_LOGS", "?"),
        ("OOM_WITNESS_NAMESPACE", "?"),
        ("DD_API_KEY", "\u{7f}"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "unheard-of"),
    ]);
    assert_eq!(said.errors("is not used").len(), 6);
}

/// Nothing is sent to an address that makes no sense. EMF is used instead.
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
        lived(&[("DD_API_KEY", "k"), (name, value)]).once("WARN").once(&format!("{name} is not"));
    }
}

#[test]
fn an_invalid_port_gives_way_to_the_default() {
    for value in ["0", "-1", "65536", "x", "61 61", "6161.0", "9001"] {
        let mut script = Script::start(&[("OOM_WITNESS_PORT", value)]);
        script.register();
        let subscription = script.subscribe().body;
        let port = subscription.rsplit_once(':').map(|(_, rest)| rest);
        let port =
            port.and_then(|rest| rest.split(['/', '"']).next()).and_then(|port| port.parse().ok());
        script.port = port.expect("a port");
        // The default port, or the next free one if another agent has it.
        assert!((6161..6261).contains(&script.port), "{value}: {}", script.port);
        script.next();
        assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
        script.give(INVOKE);
        script.next();
        let takes = "it takes a port from 1 to 65535 other than 9001";
        script.end(1).once(&format!("OOM_WITNESS_PORT is not used: {takes}"));
    }
}

#[test]
fn a_taken_port_gives_way_to_the_next_free_one() {
    let taken = super::support::cost::port();
    let _holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, taken)).expect("a free port");
    let said = lived(&[("OOM_WITNESS_PORT", &taken.to_string())]);
    said.once("WARN").once(&format!("cannot listen for telemetry on port {taken}, using "));
}

/// The next process takes over the port, without a line.
#[test]
fn a_taken_port_is_logged_once() {
    let taken = super::support::cost::port();
    let _holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, taken)).expect("a free port");
    let mut life = Life::with(|builder| builder.variable("OOM_WITNESS_PORT", taken.to_string()));
    life.invoke("A");
    life.restart(ShutdownReason::Spindown);
    life.invoke("B");
    life.tell(OOM);
    life.end(1).once("WARN").once(&format!("cannot listen for telemetry on port {taken}, using "));
}

/// Bytes that are not UTF-8, in each variable that must be.
#[test]
fn values_that_are_not_utf8() {
    for name in ["OOM_WITNESS_SINKS", "OOM_WITNESS_LOG", "DD_API_KEY", "DD_TAGS", "AWS_REGION"] {
        let mut shell = Command::new("/bin/sh");
        let export = format!("export {name}=$(printf 'secret\\377'); exec \"$0\"");
        shell.arg("-c").arg(export).arg(binary());
        let mut script = Script::start_by(shell, Stdio::piped(), &[]).prepared();
        assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
        script.give(INVOKE);
        script.next();
        let left = script.end(1);
        left.warnings(1).once(&format!("{name} is not used: it takes "));
        assert!(!left.stderr.contains("secret"), "{}", left.stderr);
    }
}

/// Datadog's own extension counts the same. Nothing is sent to Datadog unless the user asks for it.
#[test]
fn beside_datadogs_own_extension() {
    let extensions = tempfile::tempdir().expect("a folder");
    fs::write(extensions.path().join("datadog-agent"), "").expect("a file");
    let folder = extensions.path().to_string_lossy().into_owned();
    for (sinks, metrics, points) in [("", 1, 0), ("emf", 1, 0), ("datadog", 0, 1)] {
        let intake = Intake::start().expect("an intake");
        let mut life = Life::with(|builder| {
            builder
                .variable("OOM_WITNESS_EXTENSIONS", &folder)
                .variable("OOM_WITNESS_SINKS", sinks)
                .variable("DD_API_KEY", "the-key")
                .variable("DD_URL", intake.http_url())
        });
        life.invoke("A");
        life.tell(OOM);
        life.invoke("B");
        let said = life.end(metrics);
        assert_eq!(intake.requests().len(), points, "{sinks}");
        said.quietly();
        let told = said.errors("OOM_WITNESS_SINKS=datadog changes that");
        assert_eq!(told.len(), usize::from(sinks.is_empty()), "{sinks}: {told:?}");
    }
}

/// There are more tags than fit into a request. The metric carries those that fit.
#[test]
fn tags_of_3250_bytes() {
    let intake = Intake::start().expect("an intake");
    let tags = "team:memory,".repeat(271);
    let tags = &tags[..3250];
    let mut life = Life::with(|builder| {
        builder
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
            .variable("DD_TAGS", tags)
    });
    life.invoke("A");
    life.tell(OOM);
    life.invoke("B");
    life.end(0).once("WARN").once("DD_TAGS is too long: 198 of its tags are left out");
    let requests = intake.requests();
    assert_eq!(requests.len(), 1);
    let body: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    let tags = body["series"][0]["tags"].as_array().expect("tags");
    assert_eq!(tags.iter().filter(|tag| **tag == "team:memory").count(), 73);
}

/// A problem with the way to the intake is one warning at the start, without a secret.
#[test]
fn a_suspicious_way_to_the_intake_is_one_warning() {
    let exposed = "DD_URL is not https and leads to another machine: the API key can be read";
    let socks = "HTTPS_PROXY is not used: it takes the address of an http or https proxy; requests \
                 go without it";
    let proxy = ("HTTPS_PROXY", "socks5://user:the-password@proxy.example:1080");
    for (variables, told) in [
        (vec![("DD_URL", "http://intake.example")], &[exposed][..]),
        (vec![("DD_URL", "https://intake.example"), proxy], &[socks]),
        (vec![("DD_URL", "http://intake.example"), proxy], &[exposed, socks]),
        (vec![("DD_URL", "http://127.0.0.1:1"), proxy], &[]),
        (vec![("DD_URL", "http://intake.example"), proxy, ("OOM_WITNESS_SINKS", "emf")], &[]),
    ] {
        let variables = [&variables[..], &[("DD_API_KEY", "the-key")]].concat();
        let left = Script::ready(&variables).end(0);
        left.warnings(told.len());
        for line in told {
            left.once(line);
        }
        assert!(!left.stderr.contains("the-key"), "{}", left.stderr);
        assert!(!left.stderr.contains("the-password"), "{}", left.stderr);
    }
}

#[test]
fn our_own_lines_can_be_turned_off() {
    let said = lived(&[("OOM_WITNESS_LOG", "off"), ("OOM_WITNESS_LOGS", "?")]);
    assert!(said.errors("").is_empty(), "{:?}", said.errors(""));
}

#[test]
fn a_namespace_of_the_users() {
    let said = lived(&[("OOM_WITNESS_NAMESPACE", " Team/Memory #1 ")]);
    let metric = said.metrics().remove(0);
    assert_eq!(metric["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Team/Memory #1");
    said.quietly();
}
