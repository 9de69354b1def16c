//! Malformed telemetry. The agent answers 200, does not crash, and loses no event after it.

use serde_json::json;

use super::support::sandboxed_agent::{Life, OOM, bodies};
use super::support::script::Script;

/// After each of these bodies the agent still counts one invocation out of memory, and only that.
fn check<B: AsRef<[u8]>>(bad: impl IntoIterator<Item = B>) {
    let mut life = Life::start();
    life.invoke("A");
    for body in bad {
        life.post(body.as_ref());
    }
    life.tell(OOM);
    life.end(1);
}

/// Puts `bad` into the same body, before and after the good events.
fn check_beside(bad: &str) {
    let good = &bodies(OOM)[0];
    let good = &good[1..good.len() - 1];
    for body in [format!("[{bad},{good}]"), format!("[{good},{bad}]")] {
        let mut life = Life::start();
        life.invoke("A");
        life.post(body.as_bytes());
        life.end(1);
    }
}

#[test]
fn bodies_that_are_not_a_batch() {
    check(["", "[]", "{}", "null", "[", "]", "[[", "[{", "[{]", "]}[{", "[1,\"a\",null,[[]],{}]"]);
}

#[test]
fn bodies_that_are_not_utf8() {
    let all: Vec<u8> = (0..=255).collect();
    check([&[0; 5000][..], &[0xff; 5000], b"\xef\xbb\xbf[]", &all, b"[{\"type\":\"\xc3\x28\"}]"]);
}

#[test]
fn a_nest_deeper_than_any_stack() {
    check([[b'['; 100_000], [b'{'; 100_000]]);
    check(["{\"a\":".repeat(50_000)]);
}

#[test]
fn a_batch_that_ends_too_early() {
    let body = &bodies("100 start B\n 200 done B success\n 210 report B success 94/192")[0];
    check((1..body.len()).step_by(37).map(|end| &body.as_bytes()[..end]));
}

#[test]
fn unknown_events() {
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
fn missing_members() {
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
fn members_of_another_kind() {
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
fn an_unknown_status_is_neither_success_nor_crash() {
    let mut life = Life::start();
    life.invoke("A");
    life.tell(
        "100 start A
         200 done A halfway
         210 report A halfway 192/192",
    );
    life.end(1);
}

#[test]
fn times_that_are_not_timestamps() {
    for time in ["", "yesterday", "2026-13-99T99:99:99.999Z", "-1", "9".repeat(300).as_str()] {
        check_beside(&format!(r#"{{"time":"{time}","type":"platform.start","record":{{}}}}"#));
    }
}

#[test]
fn a_line_of_a_megabyte() {
    let line = "x".repeat(1 << 20);
    let mut life = Life::start();
    life.invoke("A");
    life.tell(&format!("110 log {line}"));
    life.tell(&format!("{OOM}\n220 log {line}"));
    life.end(1).quietly();
}

/// The evidence is at the end of a megabyte. It is matched as the text passes.
#[test]
fn a_mention_at_the_end_of_a_megabyte() {
    let mut life = Life::start();
    life.invoke("A");
    let line = "x".repeat(1 << 20);
    life.tell(&format!(
        "100 start A
         110 log {line} JavaScript heap out of memory
         200 done A error Runtime.ExitError
         210 report A error 94/192 Runtime.ExitError"
    ));
    life.end(1).quietly();
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

    let script = Script::ready(&[]);
    let mut kept = script.sender();
    assert_eq!([kept.post(start), kept.post(&cut), kept.post(&rest)], [200; 3]);
    script.end(1).warnings(0);

    // The same, with a connection for each body.
    let script = Script::ready(&[]);
    for body in [start, &cut, &rest] {
        let mut sender = script.sender();
        assert_eq!(sender.post(body), 200);
        sender.close();
    }
    script.end(1).warnings(0);
}

#[test]
fn a_cut_record_without_continuation_loses_no_other_event() {
    let envelope = r#"{"time":"2026-11-22T07:00:00.150Z","type":"function","record":"#;
    check([format!("[{envelope}\"{}}}]", "x".repeat(300_000))]);
}

/// The two bodies of a cut record. A function in JSON log format printed an array with a platform
/// event, and Lambda cut the record before it.
fn forged() -> [String; 2] {
    let envelope = r#"{"time":"2026-11-22T07:00:00.150Z","type":"function","record":"#;
    let report = bodies("210 report F error 192/192 Runtime.OutOfMemory").remove(0);
    let report = &report[1..report.len() - 1];
    let first = format!(r#"[{envelope}[1,{{"k":{}}}]"#, " ".repeat(300_000));
    [first, format!(r#"[{envelope}{{"a":1}}}},{report},{report},2]}}]"#)]
}

#[test]
fn a_cut_record_cannot_forge_an_event() {
    let [first, second] = forged();
    let another = &bodies("100 start A")[0];
    // The second half comes next, after another batch, or without its first half.
    for all in [vec![&first, &second], vec![&first, another, &second], vec![another, &second]] {
        let script = Script::ready(&[]);
        let mut sender = script.sender();
        for body in all {
            assert_eq!(sender.post(body), 200);
        }
        assert_eq!(sender.post(&bodies(OOM)[0]), 200);
        script.end(1).warnings(0);
    }
    // On another connection.
    let script = Script::ready(&[]);
    let (mut one, mut other) = (script.sender(), script.sender());
    assert_eq!([one.post(&first), other.post(&second)], [200; 2]);
    assert_eq!(one.post(&bodies(OOM)[0]), 200);
    script.end(1).warnings(0).once("distrusted: 2 }");
}

#[test]
fn a_cut_record_cannot_forge_an_event_after_a_restart() {
    let [first, second] = forged();
    let mut life = Life::start();
    life.post(first.as_bytes());
    life.restart(sandbox::ShutdownReason::Spindown);
    life.post(second.as_bytes());
    life.tell(OOM);
    life.end(1).once("distrusted: 2 }");
}
