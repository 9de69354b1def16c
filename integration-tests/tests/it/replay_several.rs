//! `sandbox replay` of several captures, beside the test extension, which counts
//! `Runtime.OutOfMemory` and calls it confirmed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary;

/// The end of the only attempt.
fn done(error_type: &str) -> String {
    format!(
        r#"{{"time":"2026-11-22T07:00:01.000Z","type":"platform.runtimeDone","record":{{"requestId":"r1","status":"error","errorType":"{error_type}"}}}}"#
    )
}

/// A recording in which it ended with this `errorType`, and is labelled as said.
fn recording(error_type: &str, out_of_memory: bool) -> String {
    format!(
        "{{\"attempts\":[{{\"request_id\":\"r1\",\"out_of_memory\":{out_of_memory}}}]}}\n\
         {{\"post\":[{}]}}\n",
        done(error_type)
    )
}

const OUT: &str = "Runtime.OutOfMemory";

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

/// One that is counted as labelled, a wrong count, a missed one, two without labels, and no
/// capture.
fn mixed() -> TempDir {
    folder(&[
        ("good.ndjson", recording(OUT, true)),
        ("wrong.ndjson", recording(OUT, false)),
        ("missed.ndjson", recording("Runtime.ExitError", true)),
        ("plain.json", format!("[{}]", done(OUT))),
        ("quiet.jsonl", done("Runtime.ExitError")),
        ("notes.txt", "not a capture".into()),
    ])
}

fn replay(files: &[&Path], words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("replay").args(files).args(["--extension", "test"]).args(words);
    command.output().expect("an end")
}

/// The exit code, standard output, and standard error.
fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The cells of the row that begins with this.
fn row<'a>(table: &'a str, first: &str) -> Vec<&'a str> {
    let cells = |line: &'a str| line.trim_matches(['│', ' ']).split('┆').map(str::trim);
    let rows = table.lines().map(|line| cells(line).collect::<Vec<_>>());
    let mut rows = rows.filter(|cells| cells[0] == first);
    let row = rows.next().unwrap_or_else(|| panic!("no row {first} in {table}"));
    assert_eq!(rows.next(), None, "{table}");
    row
}

#[test]
fn the_table_shows_differences_and_counts_without_labels() {
    let mixed = mixed();
    let allowed = ["--at-most-wrong", "1", "--at-most-missed", "1"];
    let (code, text, errors) = ended(&replay(&[mixed.path()], &allowed));
    assert_eq!(code, Some(0), "{errors}");
    let wrong = ["wrong", "error Runtime.OutOfMemory", "confirmed", "error_type", "no"];
    assert_eq!(row(&text, "wrong"), wrong);
    let missed = ["missed", "error Runtime.ExitError", "not counted", "", "yes"];
    assert_eq!(row(&text, "missed"), missed);
    let plain = ["plain", "error Runtime.OutOfMemory", "confirmed", "error_type", "not labelled"];
    assert_eq!(row(&text, "plain"), plain);
    for name in ["good", "quiet", "notes"] {
        assert!(!text.contains(name), "{text}");
    }
    for rule in ["all detections", "confirmed ones"] {
        assert_eq!(row(&text, rule), [rule, "1", "1", "1", "0.500", "0.500"]);
    }
    for line in [
        "captures with labels: 3, of them differ: 2; attempts: 3, out of memory: 2",
        "captures without labels: 2, counts: 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in {text}");
    }
}

#[test]
fn json_has_every_capture_in_the_order_of_the_arguments() {
    let mixed = mixed();
    let again = mixed.path().join("good.ndjson");
    let (code, text, _) = ended(&replay(&[&again, mixed.path()], &["--json"]));
    assert_eq!(code, Some(1));
    let found: Value = serde_json::from_str(&text).expect("JSON");
    let captures: Vec<_> = found["captures"].as_array().into_iter().flatten().collect();
    let file = |name: &str| mixed.path().join(name).to_string_lossy().into_owned();
    let expected = [
        ("good.ndjson", Some(false), 1),
        ("good.ndjson", Some(false), 1),
        ("missed.ndjson", Some(true), 0),
        ("plain.json", None, 1),
        ("quiet.jsonl", None, 0),
        ("wrong.ndjson", Some(true), 1),
    ];
    assert_eq!(captures.len(), expected.len());
    for (capture, (name, differs, count)) in captures.iter().zip(expected) {
        assert_eq!(capture["file"], file(name));
        assert_eq!(capture["differs"].as_bool(), differs, "{name}");
        assert_eq!(capture["count"], count, "{name}");
        assert_eq!(capture["requests"][0]["requestId"], "r1");
    }
    assert_eq!(captures[5]["requests"][0]["verdicts"][0]["evidence"], "error_type");
    assert_eq!((&found["labelled"], &found["outOfMemory"]), (&4.into(), &3.into()));
    for rule in ["all", "confirmed"] {
        let score = ["right", "wrong", "missed"].map(|name| found[rule][name].as_u64());
        assert_eq!(score, [Some(2), Some(1), Some(1)], "{found}");
        assert_eq!(found[rule]["recall"].as_f64(), Some(2.0 / 3.0));
    }
}

/// A real recording, with the labels as they are and turned round.
#[test]
fn a_recording_whose_label_is_wrong_is_a_failure() {
    let file = "../tests/data/corpus/lifecycle-next-succeeds.ndjson";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(file).expect("a recording");
    let (yes, no) = (r#""out_of_memory":true"#, r#""out_of_memory":false"#);
    for (from, to, code, beyond) in [
        (yes, yes, 0, None),
        (yes, no, 1, Some("1 wrong, expected at most 0")),
        (no, yes, 1, Some("1 missed, expected at most 0")),
    ] {
        assert_eq!(text.matches(from).count(), 1);
        let folder = folder(&[("one.ndjson", text.replace(from, to))]);
        let (ended, text, errors) = ended(&replay(&[folder.path()], &[]));
        assert_eq!(ended, Some(code), "{errors}");
        assert_eq!(errors.lines().find(|line| line.contains("expected")), beyond, "{errors}");
        let differ = format!("captures with labels: 1, of them differ: {code};");
        assert!(text.contains(&differ), "{text}");
    }
}

#[test]
fn each_allowed_number_is_a_limit() {
    let mixed = mixed();
    for (words, beyond) in [
        ("", &["1 wrong, expected at most 0", "1 missed, expected at most 0"][..]),
        ("--at-most-wrong 1", &["1 missed, expected at most 0"]),
        ("--at-most-missed 1", &["1 wrong, expected at most 0"]),
        (
            "--at-most-wrong 1 --at-most-missed 1 --at-most-wrongly-confirmed 0",
            &["1 wrongly confirmed, expected at most 0"],
        ),
        (
            "--at-most-wrong 1 --at-most-missed 1 --at-most-unconfirmed 0",
            &["1 unconfirmed, expected at most 0"],
        ),
        ("--at-most-wrong 5 --at-most-missed 1 --at-most-unconfirmed 1", &[]),
    ] {
        let words: Vec<_> = words.split_whitespace().collect();
        let (code, _, errors) = ended(&replay(&[mixed.path()], &words));
        let lines: Vec<_> = errors.lines().filter(|line| line.contains("expected")).collect();
        assert_eq!(lines, beyond, "{words:?}");
        assert_eq!(code, Some(i32::from(!beyond.is_empty())), "{words:?}");
    }
}

#[test]
fn captures_without_labels_have_no_totals_and_pass() {
    let folder = folder(&[("a.json", format!("[{}]", done(OUT))), ("b.jsonl", done("Other"))]);
    let (code, text, errors) = ended(&replay(&[folder.path()], &[]));
    assert_eq!(code, Some(0), "{errors}");
    assert!(!text.contains("Precision") && !text.contains("with labels"), "{text}");
    assert!(text.ends_with("captures without labels: 2, counts: 1\n"), "{text}");
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let mixed = mixed();
    let [good, wrong] = ["good.ndjson", "wrong.ndjson"].map(|name| mixed.path().join(name));
    let (good, wrong, folder) = (good.as_path(), wrong.as_path(), mixed.path());
    for (files, words, why) in [
        (&[][..], "", "required arguments were not provided"),
        (&[good, wrong], "--expect 1", "--expect is for one capture"),
        (&[folder], "--expect 1", "--expect is for one capture"),
        (&[good], "--at-most-wrong 1", "is for several captures"),
        (&[good], "--at-most-missed 1", "is for several captures"),
        (&[good], "--at-most-wrongly-confirmed 1", "is for several captures"),
        (&[good], "--at-most-unconfirmed 1", "is for several captures"),
        (&[folder], "--at-most-wrong 1 --expect 1", "cannot be used with"),
    ] {
        let words: Vec<_> = words.split_whitespace().collect();
        let (code, text, errors) = ended(&replay(files, &words));
        assert_eq!((code, text.as_str()), (Some(2), ""), "{words:?}: {errors}");
        assert!(errors.contains(why), "{words:?}: {errors}");
    }
}

#[test]
fn a_file_that_cannot_be_replayed_is_named_before_any_replay() {
    let mixed = mixed();
    let empty = folder(&[("notes.txt", String::new())]);
    let file = |name: &str| mixed.path().join(name);
    let good = file("good.ndjson");
    let line = |path: &Path, why: &str| format!("sandbox: {}: {why}", path.display());
    for (other, why) in [
        (file("notes.txt"), "line 1: not JSON"),
        (file("missing"), "No such file or directory"),
        (PathBuf::from(empty.path()), "no .ndjson, no .jsonl, no .json is in it"),
    ] {
        let (code, text, errors) = ended(&replay(&[&good, &other], &[]));
        assert_eq!((code, text.as_str()), (Some(1), ""), "{errors}");
        assert!(errors.starts_with(&line(&other, why)), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn an_extension_that_does_not_come_up_ends_the_replay() {
    let mixed = mixed();
    let good = mixed.path().join("good.ndjson");
    let mut command = Command::new(binary());
    command.arg("replay").args([mixed.path(), &good]).args(["--extension", "/bin/false"]);
    let (code, text, errors) = ended(&command.output().expect("an end"));
    assert_eq!((code, text.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("the extension did not come up"), "{errors}");
}

/// The verdicts of a detector that is no extension.
#[test]
fn verdicts_of_a_file_are_scored_like_those_of_an_extension() {
    let mixed = mixed();
    let file = mixed.path().join("verdicts");
    let score = |verdicts: &str| {
        fs::write(&file, verdicts).expect("a file");
        let mut command = Command::new(binary());
        command.arg("replay").arg(mixed.path()).arg("--verdicts").arg(&file);
        command.args(["--at-most-wrong", "1", "--at-most-missed", "1"]);
        ended(&command.output().expect("an end"))
    };
    let (code, text, errors) = score(
        "{\"recording\":\"good\",\"requestId\":\"r1\",\"confidence\":\"suspected\"}\n\
         {\"recording\":\"wrong\",\"requestId\":\"r1\",\"evidence\":\"mine\"}\n\n\
         {\"recording\":\"plain\"}\n",
    );
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(
        row(&text, "wrong"),
        ["wrong", "error Runtime.OutOfMemory", "confirmed", "mine", "no"]
    );
    assert_eq!(row(&text, "all detections"), ["all detections", "1", "1", "1", "0.500", "0.500"]);
    assert_eq!(row(&text, "confirmed ones"), ["confirmed ones", "0", "1", "2", "0.000", "0.000"]);
    for (verdicts, why) in [
        ("{\"recording\":\"gone\"}", "line 1: there is no capture \"gone\""),
        ("\n{\"recording\":\"good\",\"confidence\":\"sure\"}", "line 2: a confidence is confirmed"),
        ("{\"recording\":\"good\",\"requestID\":\"r1\"}", "line 1: unknown field `requestID`"),
        ("oops", "line 1: expected value"),
    ] {
        let (code, _, errors) = score(verdicts);
        assert_eq!(code, Some(1), "{verdicts}: {errors}");
        assert!(errors.contains(why), "{errors}");
    }
}

/// Runs the commands of `tests/data/corpus/README.md`.
#[test]
fn the_rule_on_the_corpus_page_gets_the_score_on_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let page = fs::read_to_string(root.join("tests/data/corpus/README.md")).expect("the page");
    let (_, script) = page.split_once("<<'PYTHON'\n").expect("a script");
    let (script, rest) = script.split_once("PYTHON\n").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    let verdicts = folder.path().join("verdicts.ndjson");
    let mut python = Command::new("python3");
    python.args(["-c", script]).current_dir(root).stdout(fs::File::create(&verdicts).expect("it"));
    assert!(python.status().expect("python3").success());
    let (_, arguments) = rest.split_once("-- replay ").expect("a command");
    let arguments = arguments.lines().next().expect("its line").split_whitespace();
    let mut replay = Command::new(binary());
    replay.arg("replay").current_dir(root);
    replay.args(arguments.map(|word| match word {
        "/tmp/verdicts.ndjson" => verdicts.as_path(),
        word => Path::new(word),
    }));
    let (_, text, errors) = ended(&replay.output().expect("an end"));
    let score = row(&text, "all detections")[1..].join(" | ");
    let expected = format!("| `errorType` alone | {score} |");
    assert!(page.lines().any(|line| line == expected), "{expected} {errors}");
}
