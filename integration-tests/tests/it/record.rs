//! Recordings of what an extension received.

use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::{Behavior, InitializationType, RecordingLine, ShutdownReason, Work};
use serde_json::Value;

use crate::{binary, free, limited};

#[test]
fn a_recording_goes_on_in_order_across_a_restart() {
    let mut environment = free("").start().expect("an environment");
    let first = environment.invoke(&Work::new(Behavior::Crash).payload()).expect("an outcome");
    let second = environment.invoke(&Work::new(Behavior::Succeed).payload()).expect("an outcome");
    environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    let recording = environment.recording();
    let events: Vec<_> =
        recording.iter().filter(|line| !matches!(line, RecordingLine::Post(_))).collect();
    let expected = [
        RecordingLine::Invoke(first.request_id),
        RecordingLine::Shutdown("failure".into()),
        RecordingLine::Restart,
        RecordingLine::Invoke(second.request_id),
        RecordingLine::Shutdown("spindown".into()),
    ];
    assert_eq!(events, expected.iter().collect::<Vec<_>>());
    let kinds: Vec<String> = recording.iter().flat_map(kinds).collect();
    let kinds: Vec<_> = kinds.iter().filter(|kind| kind.ends_with(".report")).collect();
    assert_eq!(kinds.len(), 2, "the late report and the second one");
}

fn kinds(line: &RecordingLine) -> Vec<String> {
    let line: Value = serde_json::from_str(&line.line()).expect("a line of JSON");
    let events = line["post"].as_array().into_iter().flatten();
    events.map(|event| event["type"].as_str().unwrap_or_default().to_string()).collect()
}

#[test]
fn recordings_in_the_corpus_have_the_form_that_its_readme_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/corpus");
    let mut attempts = [0, 0];
    for entry in fs::read_dir(&folder).expect("the corpus").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "ndjson") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(sandbox::foreign_path(&text), None, "{path:?}");
        let mut lines = text.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{path:?}: {error}"))
        });
        let first = lines.next().expect("a first line");
        for attempt in first["attempts"].as_array().expect("attempts") {
            let truth = attempt["out_of_memory"].as_bool().expect("a label");
            attempts[usize::from(truth)] += 1;
            let killed = attempt["killed"].as_str().expect("a victim");
            assert!(truth || !killed.contains("function"), "{path:?}: {attempt}");
            match attempt["request_id"].as_str() {
                Some(id) => assert!(is_told(id, attempt, &first, &text), "{path:?}: {attempt}"),
                None => assert!(is_own_phase(attempt, &first), "{path:?}: {attempt}"),
            }
        }
        assert!(lines.all(|line| RecordingLine::parse(&line).is_some()), "{path:?}");
    }
    assert!(attempts.iter().sum::<i32>() >= 60 && attempts.iter().all(|&count| count >= 30));
}

#[test]
fn a_recording_names_no_folder_of_the_machine_that_made_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("said.ndjson");
    let runtimes = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtimes");
    let line = format!("at handler ({}:3)", runtimes.join("node/handler.js").display());
    let recorded = Command::new(binary())
        .args(["record", "--unlimited", "--extension", "test", "--behavior", "succeed", "--line"])
        .arg(&line)
        .arg(&file)
        .arg("builtin")
        .output()
        .expect("a run");
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let text = fs::read_to_string(&file).expect("a recording");
    let posts = text.split_once('\n').expect("lines").1;
    assert!(posts.contains("at handler (/var/task/node/handler.js:3)"), "{posts}");
    assert_eq!(sandbox::foreign_path(posts), None);
}

/// By INVOKE. Managed Instances have none, and an invocation whose init fails is never sent: their
/// telemetry names them.
fn is_told(id: &str, attempt: &Value, first: &Value, text: &str) -> bool {
    let is_managed = first["initialization_type"] == "lambda-managed-instances";
    let init_fails = first["attempts"][0]["init"]["status"] == "error";
    let is_unsent = is_managed || init_fails && attempt["status"] == "error";
    let event = if is_unsent { "{\"requestId\":" } else { "{\"invoke\":" };
    text.contains(&format!("{event}\"{id}\""))
}

/// A failed init or restore is an attempt of its own where no invocation waits for it.
fn is_own_phase(attempt: &Value, first: &Value) -> bool {
    let phase = attempt["phase"].as_str();
    let fails = attempt["status"] == "error" && matches!(phase, Some("init" | "restore"));
    fails && first["initialization_type"] != "on-demand"
}

#[test]
fn a_recording_has_rises_of_the_counter_and_new_environments() {
    let test = "a_recording_has_rises_of_the_counter_and_new_environments";
    let Some(builder) = limited(test, "") else { return };
    let kind = InitializationType::ManagedInstances;
    let builder = builder.initialization_type(kind).concurrency(2);
    let mut environment = builder.start().expect("an environment");
    for behavior in [Behavior::Grow, Behavior::Succeed] {
        let payload = Work::new(behavior).payload();
        environment.invoke_at_once(&[payload]).expect("outcomes");
    }
    environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    let recording = environment.recording();
    let steps: Vec<_> =
        recording.iter().filter(|line| !matches!(line, RecordingLine::Post(_))).collect();
    let expected = [
        RecordingLine::Kills(1),
        RecordingLine::Shutdown("failure".into()),
        RecordingLine::Replaced,
        RecordingLine::Shutdown("spindown".into()),
    ];
    assert_eq!(steps, expected.iter().collect::<Vec<_>>());
    let rose = recording.iter().position(|line| *line == RecordingLine::Kills(1)).expect("a rise");
    let is_report = |kind: &String| kind == "platform.report";
    assert!(
        !recording[..rose].iter().flat_map(kinds).any(|kind| is_report(&kind)),
        "{recording:?}"
    );
    assert!(recording[rose..].iter().flat_map(kinds).any(|kind| is_report(&kind)), "{recording:?}");
}
