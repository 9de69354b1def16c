//! Variables that make no sense: one warning, the default, and everything goes on.

use std::net::{Ipv4Addr, TcpListener};

use super::life::{Life, OOM, Said, bodies};
use super::script::{INVOKE, Script};

/// A life with these variables, in which one invocation runs out of memory and EMF says so.
fn lived(variables: &[(&str, &str)]) -> Said {
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
fn empty_values_are_none() {
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

/// Nothing is asked of an address that makes no sense: what goes on is EMF.
#[test]
fn an_address_that_is_none() {
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
fn a_port_that_is_none() {
    for value in ["0", "-1", "65536", "x", "61 61", "6161.0"] {
        let mut script = Script::start(&[("OOM_WITNESS_PORT", value)]);
        script.register();
        let subscription = script.subscribe().body;
        let port = subscription.rsplit_once(':').map(|(_, rest)| rest);
        let port = port.and_then(|rest| rest.split('"').next()).and_then(|port| port.parse().ok());
        script.port = port.expect("a port");
        // The default, or the next free one where another agent has it.
        assert!((6161..6261).contains(&script.port), "{value}: {}", script.port);
        script.next();
        assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
        script.give(INVOKE);
        script.next();
        script.end(1).once("OOM_WITNESS_PORT is not used");
    }
}

#[test]
fn a_taken_port_gives_way_to_the_next_free_one() {
    let taken = super::cost::port();
    let _holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, taken)).expect("a free port");
    let said = lived(&[("OOM_WITNESS_PORT", &taken.to_string())]);
    said.once("WARN").once(&format!("port {taken} is taken, using "));
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
