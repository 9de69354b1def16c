//! Real kills by the real kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sandbox::{
    Behavior, LateReport, MemoryAfterKill, Status, Switches, Victim, Work, clean_leftovers,
    count_emf,
};
use serde_json::Value;

use crate::{binary, limited, place};

fn counted(lines: &[sandbox::Line], expected: f64) {
    let count = count_emf(lines);
    assert!((count - expected).abs() < f64::EPSILON, "counted {count}: {lines:#?}");
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).map(|event| &event["record"]).collect()
}

#[test]
fn the_function_is_killed_and_the_extension_lives() {
    let Some(builder) = limited("the_function_is_killed_and_the_extension_lives", "") else {
        return;
    };
    let mut environment = builder.start().expect("an environment");
    let cgroup = environment.cgroup().expect("a cgroup");
    let outcome = environment.invoke(&Work::new(Behavior::Grow).payload()).expect("an outcome");
    assert_eq!(outcome.victims, [Victim::Function]);
    assert_eq!(outcome.status, Status::Error);
    assert_eq!(outcome.error_type.as_deref(), Some("Runtime.OutOfMemory"));
    assert_eq!((outcome.oom_kills, outcome.max_memory_used_mb), (1, 127));
    let (name, exit) = &outcome.extension_exits[0];
    assert!(exit.is_some_and(|exit| exit.success()), "{name} ended with {exit:?}");
    counted(&environment.extension_lines(), 1.0);
    let events = environment.telemetry();
    let done = of_kind(&events, "platform.runtimeDone");
    assert_eq!(done[0]["errorType"], "Runtime.OutOfMemory");
    // Nobody has seen the report: there was no next invocation.
    assert!(of_kind(&events, "platform.report").is_empty());
    drop(environment);
    assert!(!cgroup.exists(), "{} is left", cgroup.display());
}

#[test]
fn processes_that_grow_together_all_die_and_the_extension_lives() {
    let test = "processes_that_grow_together_all_die_and_the_extension_lives";
    let Some(builder) = limited(test, "") else { return };
    let mut environment = builder.start().expect("an environment");
    let work = Work::new(Behavior::Grow).workers(8);
    let outcome = environment.invoke(&work.payload()).expect("an outcome");
    assert!(outcome.function_killed() && !outcome.extension_killed(), "{:?}", outcome.victims);
    counted(&environment.extension_lines(), 1.0);
}

#[test]
fn after_a_kill_the_next_invocation_restarts_everything() {
    let test = "after_a_kill_the_next_invocation_restarts_everything";
    let Some(builder) = limited(test, "") else { return };
    let mut environment = builder.start().expect("an environment");
    let first_pid = environment.extension_pid();
    let killed = environment.invoke(&Work::new(Behavior::Grow).payload()).expect("an outcome");
    assert_eq!(environment.extension_pid(), None);
    let fine = environment.invoke(&Work::new(Behavior::Succeed).payload()).expect("an outcome");
    assert_eq!((fine.status, fine.oom_kills), (Status::Success, 0));
    assert!(environment.extension_pid().is_some_and(|pid| Some(pid) != first_pid));
    assert!(environment.frozen(), "between invocations the environment is frozen");
    // The state in the environment's /tmp lives on, so the late report counts no more.
    environment.shutdown(sandbox::ShutdownReason::Spindown).expect("a shutdown");
    counted(&environment.extension_lines(), 1.0);
    let events = environment.telemetry();
    let phases: Vec<_> = of_kind(&events, "platform.initStart")
        .iter()
        .map(|record| record["phase"].clone())
        .collect();
    assert_eq!(phases, ["init", "invoke"]);
    let reports = of_kind(&events, "platform.report");
    assert_eq!(reports[0]["requestId"], killed.request_id.as_str());
    assert_eq!(reports[0]["errorType"], "Runtime.OutOfMemory");
    assert_eq!(reports[1]["requestId"], fine.request_id.as_str());
    let position = |kind: &str, id: &str| {
        events.iter().position(|e| e["type"] == kind && e["record"]["requestId"] == id)
    };
    let late = position("platform.report", &killed.request_id);
    assert!(late < position("platform.start", &fine.request_id));
}

/// The kernel frees the memory of killed workers a moment after their death.
#[test]
fn memory_of_killed_workers_does_not_count_for_the_next_invocation() {
    let test = "memory_of_killed_workers_does_not_count_for_the_next_invocation";
    for _ in 0..3 {
        let Some(builder) = limited(test, "") else { return };
        let mut environment = builder.start().expect("an environment");
        let work = Work { together: true, ..Work::new(Behavior::Grow).workers(16) };
        let killed = environment.invoke(&work.payload()).expect("an outcome");
        assert!(killed.oom_kills > 0);
        let work = Work::new(Behavior::Succeed).payload();
        let successful = environment.invoke(&work).expect("an outcome");
        let used_mb = successful.max_memory_used_mb;
        assert!(used_mb < 64, "{used_mb} MB after the kill");
    }
}

#[test]
fn a_killed_worker_is_not_the_function() {
    let Some(builder) = limited("a_killed_worker_is_not_the_function", "") else { return };
    let mut environment = builder.start().expect("an environment");
    let work = Work::new(Behavior::WorkerSurvives);
    let outcome = environment.invoke(&work.payload()).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    assert_eq!(outcome.victims, [Victim::Other(1)]);
    let work = Work::new(Behavior::WorkerExit);
    let outcome = environment.invoke(&work.payload()).expect("an outcome");
    assert_eq!(outcome.error_type.as_deref(), Some("Runtime.ExitError"));
    assert_eq!(outcome.victims, [Victim::Other(1)]);
}

#[test]
fn a_killed_extension_fails_the_invocation() {
    let Some(builder) = limited("a_killed_extension_fails_the_invocation", "grow") else { return };
    let mut environment = builder.start().expect("an environment");
    let work = Work { pause_ms: 60_000, ..Work::new(Behavior::Succeed) };
    let outcome = environment.invoke(&work.payload()).expect("an outcome");
    assert_eq!(outcome.error_type.as_deref(), Some("Extension.Crash"));
    assert_eq!(outcome.victims, [Victim::Extension("test-extension".into())]);
}

#[test]
fn the_report_after_a_kill_has_switches() {
    let Some(builder) = limited("the_report_after_a_kill_has_switches", "") else { return };
    let switches = Switches {
        late_report: LateReport::BeforeShutdown,
        memory_after_kill: MemoryAfterKill::Equal,
        ..Switches::default()
    };
    let mut environment = builder.switches(switches).start().expect("an environment");
    environment.invoke(&Work::new(Behavior::Grow).payload()).expect("an outcome");
    let events = environment.telemetry();
    let report = of_kind(&events, "platform.report")[0];
    assert_eq!(report["metrics"]["maxMemoryUsedMB"], 128);
    assert_eq!(report["metrics"]["memorySizeMB"], 128);
}

#[test]
fn memory_near_the_limit_is_no_kill() {
    let Some(builder) = limited("memory_near_the_limit_is_no_kill", "") else { return };
    let mut environment = builder.start().expect("an environment");
    let work = Work { mb: 96, ..Work::new(Behavior::NearLimit) };
    let outcome = environment.invoke(&work.payload()).expect("an outcome");
    assert_eq!((outcome.status, outcome.oom_kills), (Status::Success, 0));
    assert!((96..128).contains(&outcome.max_memory_used_mb), "{}", outcome.max_memory_used_mb);
}

#[test]
fn leftovers_of_a_killed_run_are_removed() {
    let test = "leftovers_of_a_killed_run_are_removed";
    let Some(place) = place(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let extension = script(folder.path());
    let mut run = Command::new(binary())
        .args(["run", "builtin", "--behavior", "timeout", "--timeout", "600", "--extension"])
        .arg(&extension)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a run");
    let prefix = format!("{}-", run.id());
    let left = || {
        let entries = fs::read_dir(&place.memory).expect("our folder");
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&prefix)).count()
    };
    while left() == 0 {
        assert!(run.try_wait().expect("a status").is_none(), "the run ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    run.kill().expect("a kill");
    run.wait().expect("a status");
    assert_eq!(left(), 1);
    clean_leftovers(&place);
    assert_eq!(left(), 0);
}

/// The test extension as an executable file.
fn script(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("test-extension");
    let text = format!("#!/bin/sh\nexec {} __extension\n", binary().display());
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    path
}
