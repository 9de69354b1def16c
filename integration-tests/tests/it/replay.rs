//! `sandbox replay`, beside the test extension, which counts `Runtime.OutOfMemory`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binary;

const EVENTS: [&str; 3] = [
    r#"{"time":"2026-11-22T07:00:00.000Z","type":"platform.start","record":{"requestId":"r1"}}"#,
    concat!(
        r#"{"time":"2026-11-22T07:00:01.000Z","type":"platform.runtimeDone","record":"#,
        r#"{"requestId":"r1","status":"error","errorType":"Runtime.OutOfMemory"}}"#,
    ),
    concat!(
        r#"{"time":"2026-11-22T07:00:02.000Z","type":"platform.report","record":"#,
        r#"{"requestId":"r2","status":"success","metrics":"#,
        r#"{"memorySizeMB":256,"maxMemoryUsedMB":90}}}"#,
    ),
];

fn replay(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary())
        .args(["replay", "-", "--extension", "test"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a replay");
    // It may have ended for another reason already.
    let _ = child.stdin.take().expect("an input").write_all(input.as_bytes());
    child.wait_with_output().expect("an end")
}

fn found(input: &str) -> Value {
    let output = replay(&["--json", "--expect", "1"], input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn each_request_has_its_verdict_and_the_event_behind_it() {
    let array = format!("[{}]", EVENTS.join(","));
    let lines = EVENTS.join("\n");
    let batches = EVENTS.map(|event| format!("[{event}]")).join("\n");
    for input in [array, lines, batches] {
        let found = found(&input);
        let [failed, fine] = found["requests"].as_array().expect("requests").as_slice() else {
            panic!("not two requests: {found}");
        };
        assert_eq!((&failed["requestId"], &fine["requestId"]), (&"r1".into(), &"r2".into()));
        assert_eq!(failed["platform"][0], "error Runtime.OutOfMemory");
        assert_eq!(failed["verdicts"][0]["evidence"], "error_type");
        assert_eq!(failed["verdicts"][0]["firstEvidence"][0], EVENTS[1]);
        assert_eq!(fine["platform"][0], "success, 90 of 256 MB");
        assert_eq!(fine["verdicts"], serde_json::json!([]));
    }
}

#[test]
fn a_recording_is_replayed_across_its_restarts() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/corpus");
    let text =
        fs::read_to_string(corpus.join("lifecycle-next-succeeds.ndjson")).expect("a recording");
    let found = found(&text);
    let labels = found["requests"].as_array().into_iter().flatten();
    let labels: Vec<_> = labels.map(|request| &request["outOfMemory"][0]).collect();
    assert_eq!(labels, ["yes", "no"]);
    let verdict = &found["requests"][0]["verdicts"][0];
    // Its times were moved to now and back.
    assert!(verdict["firstEvidence"][0].as_str().is_some_and(|event| text.contains(event)));
}

#[test]
fn a_recording_of_managed_instances_is_replayed_in_each_environment() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/corpus");
    let file = corpus.join("lmi-kill-then-replaced.ndjson");
    let found = found(&fs::read_to_string(file).expect("a recording"));
    let requests: Vec<_> = found["requests"].as_array().into_iter().flatten().collect();
    let labels: Vec<_> = requests.iter().map(|request| &request["outOfMemory"][0]).collect();
    assert_eq!((labels.len(), labels[0]), (6, &Value::from("yes")));
    for (request, label) in requests.iter().zip(labels) {
        let verdicts = request["verdicts"].as_array().expect("verdicts");
        assert_eq!(verdicts.len(), usize::from(label == "yes"), "{request}");
    }
}

#[test]
fn a_capture_of_managed_instances_is_replayed() {
    let captures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/rie-managed-instances");
    let text = fs::read_to_string(captures.join("rie-lmi-o1.ndjson")).expect("a capture");
    let found = found(&text);
    assert_eq!(found["requests"][0]["platform"][0], "error Runtime.OutOfMemory");
    assert_eq!(found["requests"][0]["verdicts"][0]["confidence"], "confirmed");
}

#[test]
fn the_table_shows_the_reasons() {
    let output = replay(&[], &EVENTS.join("\n"));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["error Runtime.OutOfMemory", "confirmed", "not counted", EVENTS[1], "count 1"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn a_file_that_is_no_capture_is_refused_in_one_line() {
    for (input, why) in [
        ("", "nothing is in it"),
        ("START RequestId: 1 Version: $LATEST", "line 1: not JSON"),
        ("{\"message\":\"hello\"}", "line 1: no telemetry event (time, type and record)"),
    ] {
        let output = replay(&[], input);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("sandbox: -: {why}")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let output = replay(&["--expect", "2"], &EVENTS.join("\n"));
    assert_eq!(output.status.code(), Some(1));
}
