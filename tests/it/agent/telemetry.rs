//! Telemetry as Lambda sends it. Each OOM counts once, in whatever order it comes.
//!
//! HTTP itself is in `telemetry_http`, malformed telemetry in `telemetry_malformed`. The rules of
//! what counts are in `tests/it/detection/`, without the agent.

use sandbox::ShutdownReason;

use super::support::bodies::{OOM, numbered_oom, oom_body};
use super::support::sandboxed_agent::SandboxedAgent;

/// Posts the bodies of `scenario`. The agent counts this often.
fn check(scenario: &str, expected: u32) {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(scenario);
    agent.end(expected).assert_no_warning();
}

#[test]
fn three_invocations_and_a_shutdown_count_nothing() {
    let mut agent = SandboxedAgent::start();
    for id in ["A", "B", "C"] {
        agent.invoke(id);
        agent.post_scenario(&format!(
            "100 start {id}
             110 log a line without a meaning
             200 done {id} success
             210 report {id} success 94/192"
        ));
    }
    agent.end(0).assert_no_warning();
}

/// Node at 192 of 192 MB has no line and no error type, only the figures and a timeout.
#[test]
fn the_limit_alone_with_a_timeout_counts_once() {
    check(
        "100 start A
         200 done A timeout
         210 report A timeout 192/192",
        1,
    );
}

#[test]
fn the_limit_alone_in_separate_bodies_counts_once() {
    check(
        "100 start A
         --
         200 done A timeout
         --
         210 report A timeout 192/192",
        1,
    );
}

#[test]
fn three_kinds_of_evidence_count_once() {
    check(
        "100 start A
         150 log FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
         200 done A error Runtime.OutOfMemory
         210 report A error 192/192 Runtime.OutOfMemory",
        1,
    );
}

#[test]
fn a_line_before_its_start_counts_once() {
    check(
        "150 log FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
         --
         100 start A
         200 done A error Runtime.ExitError
         210 report A error 94/192 Runtime.ExitError",
        1,
    );
}

#[test]
fn a_line_after_its_report_counts_once() {
    check(
        "100 start A
         200 done A error Runtime.ExitError
         210 report A error 94/192 Runtime.ExitError
         --
         150 log FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        1,
    );
}

#[test]
fn a_batch_that_comes_again_counts_once() {
    check(&format!("{OOM}\n--{OOM}\n--{OOM}"), 1);
}

#[test]
fn a_retry_of_the_same_request_counts_again() {
    check(
        &format!(
            "{OOM}
             --
             300 start A
             400 done A error Runtime.OutOfMemory
             410 report A error 192/192 Runtime.OutOfMemory"
        ),
        2,
    );
}

/// There are more invocations in one body than the table has rows.
#[test]
fn many_invocations_in_one_body_count_each() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(&(0..150).map(|number| numbered_oom(number, 1000)).collect::<String>());
    // Warnings are allowed: so many lines can fill stdout before anybody reads them.
    agent.end(150);
}

#[test]
fn a_batch_that_comes_again_over_kept_connections_counts_once() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    let body = oom_body();
    let (mut one, mut other) = (agent.connect(), agent.connect());
    assert_eq!([one.post(&body), other.post(&body), one.post(&body)], [200; 3]);
    agent.end(1).assert_no_warning();
}

/// The metric is also a log line. It has each member that CloudWatch or a human reads.
#[test]
fn the_metric_is_valid_emf() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(OOM);
    let metric = agent.end(1).metrics().remove(0);
    let expected = serde_json::json!({
        "_aws": {
            "Timestamp": metric["_aws"]["Timestamp"],
            "CloudWatchMetrics": [{
                "Namespace": "OomWitness",
                "Dimensions": [["FunctionName"], ["FunctionName", "Confidence"]],
                "Metrics": [{"Name": "aws.lambda.enhanced.out_of_memory", "Unit": "Count"}],
            }],
        },
        "FunctionName": "sandbox-function",
        "Confidence": "confirmed",
        "level": "ERROR",
        "timestamp": "2026-11-22T07:00:00.200Z",
        "message": "oom-witness: invocation A ran out of memory \
                    (confirmed: error_type; status error; limit 192 MB)",
        "requestId": "A",
        "evidence": "error_type",
        "status": "error",
        "memorySizeMB": 192,
        "functionVersion": "$LATEST",
        "initializationType": "on-demand",
        "aws.lambda.enhanced.out_of_memory": 1,
    });
    assert_eq!(metric, expected);
    assert_eq!(metric["_aws"]["Timestamp"], 1_795_330_800_200_u64);
}

#[test]
fn a_metric_has_both_memory_figures_if_the_report_is_the_evidence() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario("100 start A\n 200 done A success\n 210 report A success 192/192");
    let metric = agent.end(1).metrics().remove(0);
    assert_eq!((&metric["maxMemoryUsedMB"], &metric["memorySizeMB"]), (&192.into(), &192.into()));
    assert_eq!(metric["Confidence"], "suspected");
    assert_eq!(metric["evidence"], "memory_at_limit");
}

#[test]
fn suspicions_can_be_ignored() {
    let mut agent =
        SandboxedAgent::start_with(|builder| builder.variable("OOM_WITNESS_SUSPECTED", "ignore"));
    agent.invoke("A");
    agent.post_scenario("100 start A\n 200 done A success\n 210 report A success 192/192");
    agent.post_scenario(
        "300 start B
         400 done B error Runtime.OutOfMemory
         410 report B error 94/192 Runtime.OutOfMemory",
    );
    let metric = agent.end(1).metrics().remove(0);
    assert_eq!(metric["requestId"], "B");
}

#[test]
fn with_logs_off_only_platform_events_count() {
    let mut agent =
        SandboxedAgent::start_with(|builder| builder.variable("OOM_WITNESS_LOGS", "off"));
    agent.invoke("A");
    agent.post_scenario(OOM);
    let events = agent.environment.telemetry();
    let kind = |event: &&serde_json::Value| event["type"] == "platform.telemetrySubscription";
    let subscription = events.iter().find(kind).expect("a subscription");
    assert_eq!(subscription["record"]["types"], serde_json::json!(["platform"]));
    agent.end(1).assert_no_warning();
}

#[test]
fn on_managed_instances_the_agent_counts_without_invoke() {
    let kind = sandbox::InitializationType::ManagedInstances;
    let agent = SandboxedAgent::start_with(|builder| builder.initialization_type(kind));
    agent.post_scenario(OOM);
    agent.end_by(ShutdownReason::Failure, 1).assert_no_warning();
}
