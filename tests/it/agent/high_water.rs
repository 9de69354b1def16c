//! `OOM_WITNESS_HIGH_WATER`: one warning for each life of the environment, in every sink, across
//! restarts.

use sandbox::{Intake, ShutdownReason};
use serde_json::{Value, json};

use super::support::bodies::OOM;
use super::support::receiver::Receiver;
use super::support::sandboxed_agent::SandboxedAgent;

/// A successful invocation that comes near the limit, and one that stays there.
const NEAR: &str = "
    100 start A
    200 done A success
    210 report A success 118/128
    300 start B
    400 done B success
    410 report B success 120/128";

/// An agent with these variables, which warns from 90 percent on.
fn start(variables: &[(&'static str, String)]) -> SandboxedAgent {
    SandboxedAgent::start_with(|builder| {
        let builder = builder.variable("OOM_WITNESS_HIGH_WATER", "90");
        variables.iter().fold(builder, |builder, (name, value)| builder.variable(name, value))
    })
}

fn start_with_dogstatsd(receiver: &Receiver) -> SandboxedAgent {
    let port = receiver.port().to_string();
    start(&[("OOM_WITNESS_SINKS", "dogstatsd".to_owned()), ("DD_DOGSTATSD_PORT", port)])
}

#[test]
fn a_restart_repeats_no_warning_and_a_new_environment_warns_again() {
    let receiver = Receiver::start();
    let mut agent = start_with_dogstatsd(&receiver);
    agent.invoke("A");
    agent.post_scenario(NEAR);
    assert_eq!(receiver.take(), ["oom_witness.max_memory_used_mb:118|d|#late:true"]);
    agent.post_scenario(NEAR);
    agent.restart(ShutdownReason::Failure);
    agent.post_scenario(NEAR);
    agent.kill();
    agent.post_scenario(NEAR);
    assert_eq!(receiver.take(), [""; 0]);
    // It is later than the restart, which was a reset.
    let report = br#"[{"time":"2046-01-01T00:00:00.000Z","type":"platform.report","record":{
        "requestId":"C","status":"success",
        "metrics":{"maxMemoryUsedMB":125,"memorySizeMB":128}}}]"#;
    agent.post(report);
    agent.post(report);
    assert_eq!(receiver.take(), ["oom_witness.max_memory_used_mb:125|d"]);
    agent.end(0).assert_once("came near the memory limit (125 of 128 MB used)");
}

#[test]
fn without_the_variable_nothing_warns() {
    let receiver = Receiver::start();
    let port = receiver.port().to_string();
    let mut agent = SandboxedAgent::start_with(|builder| {
        builder.variable("OOM_WITNESS_SINKS", "dogstatsd").variable("DD_DOGSTATSD_PORT", port)
    });
    agent.invoke("A");
    agent.post_scenario(NEAR);
    assert_eq!(receiver.take(), [""; 0]);
    agent.end(0).assert_no_warning().assert_once("detections: 0,");
}

#[test]
fn a_bad_value_is_one_warning_and_the_metric_stays_off() {
    let agent =
        SandboxedAgent::start_with(|builder| builder.variable("OOM_WITNESS_HIGH_WATER", "100"));
    agent.post_scenario(NEAR);
    agent
        .end(0)
        .assert_once("WARN")
        .assert_once("OOM_WITNESS_HIGH_WATER is not used: it takes a whole number from 1 to 99");
}

/// A warning and an out-of-memory error wait for the same request.
#[test]
fn a_network_sink_gets_both_metrics() {
    let intake = Intake::start().expect("an intake");
    let url = intake.http_url();
    let mut agent = start(&[("DD_API_KEY", "k".to_owned()), ("DD_URL", url)]);
    agent.invoke("A");
    agent.post_scenario(NEAR);
    agent.post_scenario(&OOM.replace(" A", " C"));
    agent.invoke("D");
    let body: Value = serde_json::from_slice(&intake.requests()[0].body).expect("JSON");
    let series = body["series"].as_array().expect("series");
    let metric = |series: &Value| (series["metric"].clone(), series["points"][0][1].clone());
    assert_eq!(
        series.iter().map(metric).collect::<Vec<_>>(),
        [
            (json!("oom_witness.max_memory_used_mb"), json!([118.0])),
            (json!("aws.lambda.enhanced.out_of_memory"), json!([1.0])),
        ]
    );
    agent.end(0).assert_no_warning().assert_once("sent: 2,");
}

/// A line that warns has another metric, and is no out-of-memory error.
#[test]
fn a_line_warns_on_standard_output() {
    let mut agent = start(&[]);
    agent.invoke("A");
    agent.post_scenario(NEAR);
    let lines = agent.end_and_read_lines();
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    assert_eq!(line["oom_witness.max_memory_used_mb"], 118);
    assert_eq!((line["level"].as_str(), line["requestId"].as_str()), (Some("WARN"), Some("A")));
}
