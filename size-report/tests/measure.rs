//! `size-report` end to end, on the smallest extension there is here: the sandbox's own.
//!
//! It needs no agent and no right to make a cgroup: without one the out-of-memory scenarios are
//! skipped, which the report then says (`OOM_WITNESS_REQUIRE=all` makes that a failure).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const SIZE_REPORT: &str = env!("CARGO_BIN_EXE_size-report");

/// A file that becomes the sandbox's test extension, under the name it registers with.
fn extension(folder: &Path) -> PathBuf {
    let path = folder.join("test-extension");
    fs::write(&path, format!("#!/bin/sh\nexec {SIZE_REPORT} __extension\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

fn size_report(verb: &str, folder: &Path, more: &[&str]) -> Output {
    Command::new(SIZE_REPORT)
        .arg(verb)
        .arg("--extension")
        .arg(extension(folder))
        .args(["--repetitions", "1", "--invocations", "12"])
        .args(more)
        .output()
        .expect("size-report runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn median(document: &Value, name: &str) -> Option<i64> {
    let measurements = document["measurements"].as_array()?;
    measurements.iter().find(|measurement| measurement["name"] == name)?["median"].as_i64()
}

#[test]
fn measure_any_extension() {
    let folder = tempfile::tempdir().expect("a folder");
    let history = folder.path().join("history.jsonl");
    let file = history.to_string_lossy().into_owned();
    let output = size_report("measure", folder.path(), &["--json", "--history", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let bytes = fs::metadata(extension(folder.path())).expect("the script").len();
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
    let output = size_report("check", folder.path(), &more);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("OVER") && said.contains("1 of 2 budgets kept, 1 not."), "{said}");

    fs::write(&budgets, "[gnu]\nidle.rss_kib = 1_000_000\n").expect("a file");
    let output = size_report("check", folder.path(), &more);
    assert!(output.status.success(), "{}", text(&output.stderr));

    fs::write(&budgets, "[gnu]\nstart.next_us = 1\n").expect("a file");
    let output = size_report("check", folder.path(), &more);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a time cannot have a budget"));
    assert!(output.stdout.is_empty(), "a mistake in a budget costs no run");
}

#[test]
fn pages_of_any_extension() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pages = Command::new(SIZE_REPORT);
    pages
        .arg("pages")
        .arg("--extension")
        .arg(extension(folder.path()))
        .args(["--invocations", "1"]);
    let output = pages.output().expect("size-report runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let pages: Vec<_> = said.lines().filter(|line| line.starts_with("0x")).collect();
    let count = |what: &str| pages.iter().filter(|page| page.contains(what)).count();
    let sum =
        format!("{} KiB resident, {} KiB of them its own", pages.len() * 4, count(" own ") * 4);
    assert!(said.contains(&sum), "{said}");
    assert!(count("[stack]") > 1 && count(" file ") > 10, "{said}");
    // A script cannot be copied page by page.
    assert!(said.contains("is not known"), "{said}");
}

#[test]
fn wrong_arguments() {
    for arguments in
        [&["measure", "--repetitions", "0"][..], &["measure", "--invocations", "9"], &["x"]]
    {
        let output = Command::new(SIZE_REPORT).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let mut missing = Command::new(SIZE_REPORT);
    let output =
        missing.args(["measure", "--extension", "/nonexistent"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent"));
}
