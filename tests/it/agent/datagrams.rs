//! `dogstatsd` and `statsd`: one datagram for each detection, and what happens while nobody
//! listens.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandbox::ShutdownReason;

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
    for (sink, port_variable, expected) in [
        ("statsd", "STATSD_PORT", "oom_witness_out_of_memory 1"),
        (
            "dogstatsd",
            "DD_DOGSTATSD_PORT",
            "oom_witness_out_of_memory_count{confidence=\"confirmed\",evidence=\"error_type\",\
             late=\"true\"} 1",
        ),
    ] {
        let server = StatsdServer::start();
        if !needs(server.is_some(), "statsd_exporter") {
            return;
        }
        let server = server.expect("a server");
        let mut agent = start(sink, port_variable, server.port);
        agent.invoke("A");
        agent.post_scenario(OOM);
        agent.end(0).assert_no_warning();
        let has_counted =
            || server.metrics().is_ok_and(|all| all.lines().any(|one| one == expected));
        wait_until(expected, has_counted);
    }
}

/// Prometheus's statsd_exporter.
struct StatsdServer {
    process: Child,
    port: u16,
    web_port: u16,
}

impl StatsdServer {
    /// Starts it, and waits until it listens. `None` if this machine does not have it.
    fn start() -> Option<Self> {
        let (port, web_port) = (free_port(), free_port());
        let listen = |flag: &str, port: u16| format!("--{flag}=127.0.0.1:{port}");
        let process = Command::new("statsd_exporter")
            .env("PATH", path_with_go())
            .args([listen("statsd.listen-udp", port), listen("web.listen-address", web_port)])
            .arg("--statsd.listen-tcp=")
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { process, port, web_port };
        wait_until("statsd_exporter listens", || server.metrics().is_ok());
        Some(server)
    }

    /// What it has counted, in Prometheus's text format.
    fn metrics(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.web_port))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        io::read_to_string(stream)
    }
}

impl Drop for StatsdServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `PATH`, with the folder in which `go install` leaves programs.
fn path_with_go() -> OsString {
    let folder = Command::new("go").args(["env", "GOPATH"]).output();
    let folder = folder.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let go = Path::new(&folder.unwrap_or_default()).join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::env::split_paths(&path).chain([go])).expect("a list of folders")
}
