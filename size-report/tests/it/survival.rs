//! Kills, their history and its chart.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{extension, size_report, text};

/// `None`: there is no right to make a cgroup, so nothing was killed.
fn survival(folder: &Path, words: &str, more: &[&str]) -> Option<Output> {
    let mut command = size_report("survival");
    command.arg("--extension").arg(extension(folder, words));
    command.args(["--functions", "builtin", "--memory", "64", "--history"]);
    command.arg(folder.join("history.jsonl")).args(more);
    let output = command.output().expect("size-report runs");
    if text(&output.stderr).contains("skipped:") {
        eprintln!("skipped: no right to make a memory cgroup, so nothing was killed");
        return None;
    }
    Some(output)
}

fn history(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("history.jsonl")).expect("a history");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn an_interrupted_run_goes_on_and_is_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let asked = ["--runs", "1", "--workers", "1,8", "--beside", "20", "--beside-runs", "1"];
    let Some(output) = survival(folder, "", &asked) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("builtin, 64 MB, workers 8: 1 of 1 alive"));
    let cells = history(folder);
    assert_eq!(cells.len(), 4);
    for cell in &cells {
        assert!(cell["kernel_kills"].as_u64() >= Some(1) && cell["vm_hwm_kib"].as_u64() > Some(0));
        assert_eq!((&cell["memory_mb"], &cell["runs"]), (&64.into(), &1.into()));
    }
    assert!(cells[2]["vm_hwm_kib"].as_u64() >= Some(20 * 1024), "20 MB resident");

    let file = folder.join("history.jsonl");
    let lines = fs::read_to_string(&file).expect("a history");
    fs::write(&file, &lines[..lines.len() - 20]).expect("the last line cut");
    let output = survival(folder, "", &asked).expect("as before");
    assert!(text(&output.stderr).contains("1/1 20 MB resident, builtin, 64 MB, workers 8"));
    assert_eq!(history(folder).len(), 4, "three were there, one is new");

    let svg = folder.join("survival.svg");
    let drawn = size_report("chart").arg(&file).arg("--output").arg(&svg).status();
    assert!(drawn.expect("it runs").success());
    assert!(fs::read_to_string(&svg).expect("an SVG").contains("20 MB resident"));
}

#[test]
fn an_invocation_that_succeeds_after_the_kill_does_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = ["--runs", "1", "--workers", "1", "--beside-runs", "0", "--then-succeed"];
    let Some(output) = survival(folder.path(), "", &asked) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let cell = &history(folder.path())[0];
    assert_eq!((&cell["then_succeed"], &cell["once"]), (&true.into(), &1.into()));
    // Without the second invocation it is another cell.
    let Some(output) = survival(folder.path(), "", &asked[..asked.len() - 1]) else { return };
    assert!(text(&output.stderr).contains("1/1 "), "{}", text(&output.stderr));
}

#[test]
fn a_run_without_a_count_fails_and_the_history_has_everything_about_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = ["--runs", "1", "--workers", "1", "--beside-runs", "0"];
    let Some(output) = survival(folder.path(), "quiet", &asked) else { return };
    assert_eq!(output.status.code(), Some(1));
    let problem = &history(folder.path())[0]["problems"][0];
    assert_eq!(problem["counted"], 0.0);
    assert_eq!(problem["killed"], "function");
    let telemetry = problem["telemetry"].to_string();
    assert!(telemetry.contains("Runtime.OutOfMemory"), "{telemetry}");
    assert!(problem["lines"].to_string().contains("SHUTDOWN"), "{problem}");
    assert!(text(&output.stderr).contains("Runtime.OutOfMemory"));
    assert!(text(&output.stdout).contains("0.0 %"));
}
