//! Figures, budgets and pages of an extension.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{extension, size_report, text};

/// Runs each scenario once.
fn measured(verb: &str, folder: &Path, more: &[&str]) -> Output {
    let mut command = size_report(verb);
    command.arg("--extension").arg(extension(folder, ""));
    command.args(["--repetitions", "1", "--invocations", "12"]).args(more);
    command.output().expect("size-report runs")
}

fn median(document: &Value, name: &str) -> Option<i64> {
    let measurements = document["measurements"].as_array()?;
    measurements.iter().find(|measurement| measurement["name"] == name)?["median"].as_i64()
}

#[test]
fn any_extension_can_be_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let history = folder.path().join("history.jsonl");
    let file = history.to_string_lossy().into_owned();
    let output = measured("measure", folder.path(), &["--json", "--history", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let bytes = fs::metadata(extension(folder.path(), "")).expect("the script").len();
    let value = |name: &str| median(&document, name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(u64::try_from(value("binary.file_bytes")).expect("a size"), bytes);
    for name in ["idle.rss_kib", "invocations.rss_anon_kib", "idle.page_tables_kib"] {
        assert!(value(name) > 0, "{name}");
    }
    assert!(value("idle.vm_hwm_kib") >= value("idle.rss_kib"));
    assert!(value("idle.threads") >= 2 && value("idle.open_files") > 3);
    let skipped = document["skipped"].as_array().expect("a list");
    if skipped.iter().any(|skipped| skipped["scenario"] == "oom_emf") {
        eprintln!("skipped: no right to make a memory cgroup, so nothing was killed");
    } else {
        assert_eq!(value("oom_emf.counted"), 1);
        assert!(value("oom_emf.vm_hwm_kib") >= value("oom_emf.rss_kib"));
        assert_eq!(value("oom_tls.processes"), 0);
    }
    let line = fs::read_to_string(&history).expect("a history");
    let line: Value = serde_json::from_str(&line).expect("one line");
    assert_eq!(line["figures"]["idle.threads"][0], value("idle.threads"));
    assert!(line["date"].is_string());
}

#[test]
fn check_fails_above_a_budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let budgets = folder.path().join("budgets.toml");
    let file = budgets.to_string_lossy().into_owned();
    let more = ["--budgets", file.as_str()];

    fs::write(&budgets, "[gnu]\nidle.rss_kib = 1_000_000\nbinary.file_bytes = 1\n")
        .expect("a file");
    let output = measured("check", folder.path(), &more);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("OVER") && shown.contains("1 of 2 budgets kept, 1 not."), "{shown}");

    fs::write(&budgets, "[gnu]\nidle.rss_kib = 1_000_000\n").expect("a file");
    let output = measured("check", folder.path(), &more);
    assert!(output.status.success(), "{}", text(&output.stderr));

    fs::write(&budgets, "[gnu]\nstart.next_us = 1\n").expect("a file");
    let output = measured("check", folder.path(), &more);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a time cannot have a budget"));
    assert!(output.stdout.is_empty(), "a mistake in a budget costs no run");
}

#[test]
fn the_pages_of_any_extension_can_be_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pages = size_report("pages");
    pages.arg("--extension").arg(extension(folder.path(), "")).args(["--invocations", "1"]);
    let output = pages.output().expect("size-report runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let pages: Vec<_> = shown.lines().filter(|line| line.starts_with("0x")).collect();
    let count = |what: &str| pages.iter().filter(|page| page.contains(what)).count();
    let sum =
        format!("{} KiB resident, {} KiB of them its own", pages.len() * 4, count(" own ") * 4);
    assert!(shown.contains(&sum), "{shown}");
    assert!(count("[stack]") > 1 && count(" file ") > 10, "{shown}");
    // A script cannot be copied page by page.
    assert!(shown.contains("is not known"), "{shown}");
}

#[test]
fn wrong_arguments_are_an_error() {
    for arguments in
        [&["measure", "--repetitions", "0"][..], &["measure", "--invocations", "9"], &["x"]]
    {
        let mut wrong = size_report(arguments[0]);
        let output = wrong.args(&arguments[1..]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let mut missing = size_report("measure");
    let output = missing.args(["--extension", "/nonexistent"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent"));
}
