//! Malformed telemetry. The agent answers 200, does not crash, and loses no other event.
//!
//! The scanner's own tests are in `tests/it/scanner.rs` and `core/src/scan/`.

use serde_json::json;

use super::support::bodies::{OOM, bodies, oom_body};
use super::support::sandboxed_agent::SandboxedAgent;
use super::support::script::Script;

/// Posts these bodies, then one invocation that runs out of memory. The agent counts that one only.
fn check_after<B: AsRef<[u8]>>(bad: impl IntoIterator<Item = B>) {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    for body in bad {
        agent.post(body.as_ref());
    }
    agent.post_scenario(OOM);
    agent.end(1);
}

/// Puts `bad` into the same body as good events, before them and after them. They count.
fn check_beside(bad: &str) {
    let good = oom_body();
    let good = &good[1..good.len() - 1];
    for body in [format!("[{bad},{good}]"), format!("[{good},{bad}]")] {
        let mut agent = SandboxedAgent::start();
        agent.invoke("A");
        agent.post(body.as_bytes());
        agent.end(1);
    }
}

#[test]
fn after_bodies_that_are_not_a_batch_the_next_counts() {
    check_after([
        "",
        "[]",
        "{}",
        "null",
        "[",
        "]",
        "[[",
        "[{",
        "[{]",
        "]}[{",
        "[1,\"a\",null,[[]],{}]",
    ]);
}

#[test]
fn after_bodies_that_are_not_utf8_the_next_counts() {
    let all: Vec<u8> = (0..=255).collect();
    check_after([
        &[0; 5000][..],
        &[0xff; 5000],
        b"\xef\xbb\xbf[]",
        &all,
        b"[{\"type\":\"\xc3\x28\"}]",
    ]);
}

#[test]
fn after_a_nest_deeper_than_any_stack_the_next_body_counts() {
    check_after([[b'['; 100_000], [b'{'; 100_000]]);
    check_after(["{\"a\":".repeat(50_000)]);
}

#[test]
fn after_a_batch_that_ends_too_early_the_next_counts() {
    let body = &bodies("100 start B\n 200 done B success\n 210 report B success 94/192")[0];
    check_after((1..body.len()).step_by(37).map(|end| &body.as_bytes()[..end]));
}

#[test]
fn unknown_events_cost_no_other_event() {
    for bad in [
        r#"{"time":"2026-11-22T07:00:00.100Z","type":"platform.newThing","record":{"a":[1,{}]}}"#,
        r#"{"time":"2026-11-22T07:00:00.100Z","type":"platform.newThing","record":"text"}"#,
        r#"{"type":"","record":null}"#,
        r#"{"type":7,"record":7,"time":7}"#,
    ] {
        check_beside(bad);
    }
}

#[test]
fn missing_members_cost_no_other_event() {
    for bad in [
        "{}",
        r#"{"type":"platform.start"}"#,
        r#"{"type":"platform.report","record":{}}"#,
        r#"{"type":"platform.report","record":null,"time":"2026-11-22T07:00:00.100Z"}"#,
        r#"{"type":"platform.runtimeDone","record":{"status":"error"}}"#,
        r#"{"record":{"requestId":"B","status":"error"},"time":"2026-11-22T07:00:00.100Z"}"#,
        r#"{"type":"function","time":"2026-11-22T07:00:00.100Z"}"#,
    ] {
        check_beside(bad);
    }
}

#[test]
fn members_of_another_type_cost_no_other_event() {
    let time = "2026-11-22T07:00:00.100Z";
    for record in [
        json!({"requestId": 7, "status": {}, "metrics": []}),
        json!({"requestId": "", "status": "", "errorType": []}),
        json!({"requestId": "x".repeat(5000), "status": "success"}),
        json!({"requestId": "B", "metrics": {"memorySizeMB": "192", "maxMemoryUsedMB": -1}}),
        json!({"requestId": "B", "metrics": {"memorySizeMB": 1e300, "maxMemoryUsedMB": 1e-300}}),
        json!([[[]]]),
        json!("a record that is text"),
    ] {
        let event = json!({"time": time, "type": "platform.report", "record": record});
        check_beside(&event.to_string());
    }
}

#[test]
fn an_unknown_status_is_neither_success_nor_failure() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(
        "100 start A
         200 done A halfway
         210 report A halfway 192/192",
    );
    agent.end(1);
}

#[test]
fn times_that_are_not_timestamps_cost_no_other_event() {
    for time in ["", "yesterday", "2026-13-99T99:99:99.999Z", "-1", "9".repeat(300).as_str()] {
        check_beside(&format!(r#"{{"time":"{time}","type":"platform.start","record":{{}}}}"#));
    }
}

#[test]
fn a_line_of_a_megabyte_is_no_evidence() {
    let line = "x".repeat(1 << 20);
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(&format!("110 log {line}"));
    agent.post_scenario(&format!("{OOM}\n220 log {line}"));
    agent.end(1).assert_no_warning();
}

#[test]
fn a_mention_at_the_end_of_a_megabyte_counts() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    let line = "x".repeat(1 << 20);
    agent.post_scenario(&format!(
        "100 start A
         110 log {line} JavaScript heap out of memory
         200 done A error Runtime.ExitError
         210 report A error 94/192 Runtime.ExitError"
    ));
    agent.end(1).assert_no_warning();
}

/// Lambda cuts a record that is larger than its buffer. The next body goes on with the same
/// envelope and without a quote (DataDog/datadog-lambda-extension, issue 1357).
#[test]
fn a_record_cut_in_the_middle_goes_on_in_the_next_body() {
    let envelope = r#"{"time":"2026-11-22T07:00:00.150Z","type":"function","record":"#;
    let start = &bodies("100 start A")[0];
    let cut = format!("[{envelope}\"{} JavaScript heap o}}]", "x".repeat(300_000));
    let rest = &bodies("200 done A error Runtime.ExitError\n 210 report A error 94/192")[0][1..];
    let rest = format!("[{envelope}ut of memory\\n\"}},{rest}");

    let script = Script::start_ready(&[]);
    let mut kept = script.connect();
    assert_eq!([kept.post(start), kept.post(&cut), kept.post(&rest)], [200; 3]);
    script.end(1).assert_warnings(0);

    // The same, with a connection for each body.
    let script = Script::start_ready(&[]);
    for body in [start, &cut, &rest] {
        let mut sender = script.connect();
        assert_eq!(sender.post(body), 200);
        sender.close();
    }
    script.end(1).assert_warnings(0);
}

#[test]
fn a_cut_record_without_continuation_loses_no_other_event() {
    let envelope = r#"{"time":"2026-11-22T07:00:00.150Z","type":"function","record":"#;
    check_after([format!("[{envelope}\"{}}}]", "x".repeat(300_000))]);
}

/// The two bodies of a cut record. A function in JSON log format printed an array with a platform
/// event, and Lambda cut the record before that event.
fn cut_record_with_a_forged_event() -> [String; 2] {
    let envelope = r#"{"time":"2026-11-22T07:00:00.150Z","type":"function","record":"#;
    let report = bodies("210 report F error 192/192 Runtime.OutOfMemory").remove(0);
    let report = &report[1..report.len() - 1];
    let first = format!(r#"[{envelope}[1,{{"k":{}}}]"#, " ".repeat(300_000));
    [first, format!(r#"[{envelope}{{"a":1}}}},{report},{report},2]}}]"#)]
}

#[test]
fn a_cut_record_cannot_forge_an_event() {
    let [first, second] = cut_record_with_a_forged_event();
    let another = &bodies("100 start A")[0];
    // The second half comes next, or after another batch, or without the first half.
    for all in [vec![&first, &second], vec![&first, another, &second], vec![another, &second]] {
        let script = Script::start_ready(&[]);
        let mut sender = script.connect();
        for body in all {
            assert_eq!(sender.post(body), 200);
        }
        assert_eq!(sender.post(oom_body()), 200);
        script.end(1).assert_warnings(0);
    }
    // On another connection.
    let script = Script::start_ready(&[]);
    let (mut one, mut other) = (script.connect(), script.connect());
    assert_eq!([one.post(&first), other.post(&second)], [200; 2]);
    assert_eq!(one.post(oom_body()), 200);
    script.end(1).assert_warnings(0).assert_once("distrusted: 2 }");
}

#[test]
fn a_cut_record_cannot_forge_an_event_after_a_restart() {
    let [first, second] = cut_record_with_a_forged_event();
    let mut agent = SandboxedAgent::start();
    agent.post(first.as_bytes());
    agent.restart(sandbox::ShutdownReason::Spindown);
    agent.post(second.as_bytes());
    agent.post_scenario(OOM);
    agent.end(1).assert_once("distrusted: 2 }");
}
