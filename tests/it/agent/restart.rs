//! Several processes of the agent in one environment. What one knew survives, and nothing counts
//! twice.
//!
//! The file that carries it is tested in `journal`.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::time::Duration;

use sandbox::{Intake, IntakeAnswer, IntakeRequest, ShutdownReason, Switches};
use serde_json::{Value, json};

use super::journal::{folder_and_path, run_agent};
use super::support::binary::binary;
use super::support::bodies::{OOM, bodies, oom_body};
use super::support::intakes::{assert_points, hanging_intake};
use super::support::ports::free_port;
use super::support::sandboxed_agent::SandboxedAgent;
use super::support::script::Script;

/// An invocation that fails. Its report says why.
const FAILED: &str = "100 start A\n 200 done A error Runtime.ExitError";
const REPORT: &str = "210 report A error 192/192 Runtime.OutOfMemory";

#[test]
fn a_report_that_comes_again_after_a_restart_counts_once() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.restart(ShutdownReason::Failure);
    agent.post_scenario(OOM);
    agent.restart(ShutdownReason::Failure);
    agent.post_scenario(OOM);
    agent.end(1).assert_no_warning();
}

/// The usual order after a kill: the report reaches the next process.
#[test]
fn a_report_that_comes_after_a_restart_counts_once() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(FAILED);
    agent.restart(ShutdownReason::Failure);
    agent.post_scenario(REPORT);
    agent.end(1).assert_no_warning();
}

#[test]
fn after_a_kill_the_next_process_goes_on_and_says_so_once() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.kill();
    agent.post_scenario(OOM);
    agent.post_scenario(&OOM.replace(" A", " B"));
    agent.restart(ShutdownReason::Spindown);
    agent.end(2).assert_once("WARN").assert_once("was killed in this environment");
}

#[test]
fn a_detection_that_was_not_taken_goes_out_after_a_restart() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer::status(503));
    let limit = Duration::from_millis(500);
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder
            .switches(Switches { shutdown_limit: limit, ..Switches::default() })
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
    });
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent.restart(ShutdownReason::Failure);
    intake.answer_all(IntakeAnswer::default());
    agent.invoke("B");
    assert_points(&intake, 1);
    let taken = intake.requests().len();
    agent.restart(ShutdownReason::Spindown);
    agent.invoke("C");
    let output = agent.end(0);
    assert_eq!((intake.requests().len(), output.count_sentences()), (taken, 1));
}

/// The init is reported to the first process, and the invocation's end to the second.
#[test]
fn the_tags_of_the_start_and_of_the_runtime_survive_a_restart() {
    let intake = Intake::start().expect("an intake");
    let (_folder, path) = folder_and_path();
    let (url, port) = (intake.http_url(), free_port().to_string());
    let variables = [
        ("OOM_WITNESS_STATE", path.as_str()),
        ("OOM_WITNESS_PORT", port.as_str()),
        ("DD_API_KEY", "k"),
        ("DD_URL", url.as_str()),
    ];
    let script = Script::start_ready(&variables);
    script.post(bodies("10 initStart on-demand init python:3.12.v38\n 100 start A").remove(0));
    script.end(0).assert_warnings(0);

    let mut script = Script::start_ready(&variables);
    script.post(bodies("200 done A error Runtime.OutOfMemory").remove(0));
    script.invoke();
    script.post(bodies("300 start B\n 400 done B error Runtime.OutOfMemory").remove(0));
    script.end(0).assert_warnings(0);
    assert_points(&intake, 2);
    let body = |request: &IntakeRequest| serde_json::from_slice(&request.body).expect("JSON");
    let bodies: Vec<Value> = intake.requests().iter().map(body).collect();
    for (body, start) in bodies.iter().zip(["cold_start:true", "cold_start:false"]) {
        let tags = body["series"][0]["tags"].as_array().expect("tags");
        assert!(tags.contains(&json!(start)), "{start}: {tags:?}");
        assert!(tags.contains(&json!("runtime:python3.12")), "{tags:?}");
    }
}

/// An agent with this standard output, its journal at `path`, and its listener at `port`.
fn start_ready_with(stdout: Stdio, path: &str, port: u16) -> Script {
    let variables = [("OOM_WITNESS_STATE", path), ("OOM_WITNESS_PORT", &port.to_string())];
    Script::start_by(Command::new(binary()), stdout, &variables).make_ready()
}

/// Stdout took nothing of the line, so the next process writes it.
#[test]
fn a_line_that_stdout_did_not_take_goes_out_after_a_restart() {
    let (_folder, path) = folder_and_path();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let port = free_port();
    let mut script = start_ready_with(full.into(), &path, port);
    script.post(oom_body());
    script.invoke();
    script.end(0).assert_once("written: 0, unwritten: 1");

    let script = start_ready_with(Stdio::piped(), &path, port);
    script.post(oom_body());
    script.end(1).assert_warnings(0).assert_once("written: 1, unwritten: 0");
}

/// It has the same request id and another start.
#[test]
fn a_retry_after_a_restart_is_another_attempt() {
    let (_folder, path) = folder_and_path();
    let agent = || Command::new(binary());
    let retry = "300 start A\n 400 done A error Runtime.OutOfMemory\n 410 report A error 192/192";
    run_agent(agent(), &path, OOM, 1).assert_warnings(0);
    run_agent(agent(), &path, &format!("{OOM}\n{retry}"), 1);
    run_agent(agent(), &path, &format!("{OOM}\n{retry}"), 0);
}

/// The intake has the request and does not answer. The agent is killed, so nobody knows whether the
/// intake took it. The next process does not send it again, and says so.
#[test]
fn a_send_that_a_kill_interrupts_is_unknown() {
    let intake = hanging_intake();
    let (_folder, path) = folder_and_path();
    let (url, port) = (intake.http_url(), free_port().to_string());
    let own = [("OOM_WITNESS_STATE", path.as_str()), ("OOM_WITNESS_PORT", port.as_str())];
    // Dropping it kills the agent.
    drop(Script::start_in_a_send(&intake, &own));
    intake.answer_all(IntakeAnswer::default());

    let sink = [("DD_API_KEY", "k"), ("DD_URL", url.as_str())];
    let mut script = Script::start_ready(&[own, sink].concat());
    script.post(oom_body());
    script.invoke();
    let output = script.end(0);
    output
        .assert_once("datadog may have a metric of the previous process")
        .assert_once("unknown: 1,");
    output.assert_once("was killed in this environment").assert_warnings(2);
    assert_eq!(intake.requests().len(), 1);
}
