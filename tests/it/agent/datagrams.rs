//! `dogstatsd` and `statsd`: one datagram for each detection, and what happens while nobody
//! listens.

use std::io::ErrorKind;

use sandbox::{Point, ShutdownReason, StatsdServer};

use super::needs;
use super::support::bodies::OOM;
use super::support::ports::free_port;
use super::support::receiver::{Receiver, sum};
use super::support::sandboxed_agent::SandboxedAgent;
use super::support::wait::wait_until;

fn start(sink: &str, port_variable: &str, port: u16) -> SandboxedAgent {
    SandboxedAgent::start_with(|builder| {
        builder.variable("OOM_WITNESS_SINKS", sink).variable(port_variable, port.to_string())
    })
}

#[test]
fn dogstatsd_gets_one_point_with_its_tags_at_the_moment_of_the_detection() {
    let receiver = Receiver::start();
    let mut agent = start("dogstatsd", "DD_DOGSTATSD_PORT", receiver.port());
    agent.invoke("A");
    agent.post_scenario(OOM);
    // The telemetry is some minutes old, so it is late.
    assert_eq!(
        receiver.take(),
        ["oom_witness.out_of_memory:1|d|#confidence:confirmed,evidence:error_type,late:true"]
    );
    agent.invoke("B");
    let output = agent.end(0);
    assert_eq!(output.count_sentences(), 1);
    output.assert_no_warning().assert_once("written: 1, unwritten: 0,");
    assert_eq!(receiver.take(), [""; 0]);
}

#[test]
fn statsd_gets_one_counter_without_tags() {
    let receiver = Receiver::start();
    let mut agent = start("statsd", "STATSD_PORT", receiver.port());
    agent.invoke("A");
    agent.post_scenario(OOM);
    assert_eq!(receiver.take(), ["oom_witness.out_of_memory:1|c"]);
    agent.end(0).assert_no_warning();
}

#[test]
fn a_datagram_goes_beside_a_line() {
    let receiver = Receiver::start();
    let mut agent = start("emf, dogstatsd", "DD_DOGSTATSD_PORT", receiver.port());
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.end(1).assert_no_warning().assert_once("written: 2, unwritten: 0,");
    assert_eq!(sum(&receiver.take()), 1);
}

#[test]
fn while_nobody_listens_the_metric_waits() {
    let port = free_port();
    let mut agent = start("dogstatsd", "DD_DOGSTATSD_PORT", port);
    agent.invoke("A");
    agent.post_scenario(OOM);
    let receiver = Receiver::bind(port);
    let mut received = Vec::new();
    wait_until("a later event repeats it", || {
        agent.invoke("B");
        received.extend(receiver.take());
        !received.is_empty()
    });
    agent
        .end(0)
        .assert_once("WARN")
        .assert_once("DogStatsD does not take an out-of-memory metric")
        .assert_once("written: 1, unwritten: 0,");
    received.extend(receiver.take());
    assert_eq!(sum(&received), 1);
}

#[test]
fn a_metric_that_nobody_took_goes_out_in_the_next_process() {
    let port = free_port();
    let mut agent = start("dogstatsd", "DD_DOGSTATSD_PORT", port);
    agent.invoke("A");
    agent.post_scenario(OOM);
    let receiver = Receiver::bind(port);
    agent.kill();
    assert_eq!(sum(&receiver.take()), 1);
    agent.end(0).assert_once("written: 1, unwritten: 0,");
    assert_eq!(receiver.take(), [""; 0]);
}

#[test]
fn a_metric_that_nobody_took_until_the_end_is_counted_as_unwritten() {
    let mut agent = start("dogstatsd", "DD_DOGSTATSD_PORT", free_port());
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.end_by(ShutdownReason::Failure, 0).assert_once("written: 0, unwritten: 1,");
}

/// Prometheus's statsd_exporter counts one by each protocol. `.ci/setup` installs it.
#[test]
fn a_real_statsd_server_counts_one() {
    for (sink, port_variable, labels) in [
        ("statsd", "STATSD_PORT", &[][..]),
        (
            "dogstatsd",
            "DD_DOGSTATSD_PORT",
            &["confidence:confirmed", "evidence:error_type", "late:true"],
        ),
    ] {
        let mut server = StatsdServer::new().expect("a port");
        let started = server.start();
        let has_program = !started.as_ref().is_err_and(|why| why.kind() == ErrorKind::NotFound);
        if !needs(has_program, "statsd_exporter") {
            return;
        }
        started.expect("a server");
        let mut agent = start(sink, port_variable, server.port());
        agent.invoke("A");
        agent.post_scenario(OOM);
        agent.end(0).assert_no_warning();
        let labels = labels.iter().map(ToString::to_string).collect();
        assert_eq!(server.points().expect("points"), [Point { value: 1.0, labels }]);
    }
}
