//! Init, invocation, reset and shutdown, without a cgroup.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sandbox::{
    ApiCall, ApiFault, Behavior, Environment, Function, InitializationType, RuntimeAnswer,
    ShutdownReason, Status, SuppressedInit, Switches, Work, alive,
};
use serde_json::Value;

use crate::{binary, free};

fn kinds(environment: &Environment) -> Vec<String> {
    let events = environment.telemetry();
    let platform = events.iter().filter_map(|event| event["type"].as_str());
    platform.filter(|kind| kind.starts_with("platform.")).map(str::to_string).collect()
}

fn work(behavior: Behavior) -> String {
    Work::new(behavior).payload()
}

#[test]
fn a_successful_invocation_has_all_platform_events() {
    let mut environment = free("").start().expect("an environment");
    assert_eq!(environment.init().status, Status::Success);
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    assert_eq!(outcome.answer, Some(RuntimeAnswer::Response(r#"{"status":"ok"}"#.into())));
    let mut expected = vec![
        "platform.initStart",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ];
    // These two come when the runtime and the extension are ready, in either order.
    let mut seen = kinds(&environment);
    for free in ["platform.initRuntimeDone", "platform.telemetrySubscription"] {
        assert_eq!(seen.iter().filter(|kind| *kind == free).count(), 1, "{free}");
        seen.retain(|kind| kind != free);
    }
    assert_eq!(seen, std::mem::take(&mut expected));
    let pid = environment.extension_pid().expect("a pid");
    let shutdown = environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    assert!(shutdown.exits[0].1.is_some_and(|exit| exit.success()));
    assert!(!alive(pid));
}

#[test]
fn a_crash_is_followed_by_a_restart() {
    let mut environment = free("").start().expect("an environment");
    let crash = Work { code: 3, ..Work::new(Behavior::Crash) };
    let outcome = environment.invoke(&crash.payload()).expect("an outcome");
    assert_eq!(outcome.error_type.as_deref(), Some("Runtime.ExitError"));
    assert_eq!(outcome.runtime_exit.and_then(|exit| exit.code()), Some(3));
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
}

#[test]
fn sigkill_without_the_kernels_counter_is_no_out_of_memory() {
    let mut environment = free("").start().expect("an environment");
    let outcome = environment.invoke(&work(Behavior::Abort)).expect("an outcome");
    assert_eq!(outcome.error_type.as_deref(), Some("Runtime.ExitError"));
    assert!(outcome.victims.is_empty());
}

#[test]
fn an_invocation_that_takes_too_long_is_a_timeout() {
    let builder = free("").timeout(Duration::from_millis(300));
    let mut environment = builder.start().expect("an environment");
    let outcome = environment.invoke(&work(Behavior::Timeout)).expect("an outcome");
    assert_eq!((outcome.status, outcome.error_type), (Status::Timeout, None));
    assert!(outcome.extension_exits[0].1.is_some_and(|exit| exit.success()));
}

#[test]
fn a_handled_error_is_a_success() {
    let mut environment = free("").start().expect("an environment");
    let outcome = environment.invoke(&work(Behavior::Error)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    assert!(matches!(outcome.answer, Some(RuntimeAnswer::Error(_))));
}

#[test]
fn an_extension_that_ends_fails_the_invocation() {
    let mut environment = free("exit-on-invoke").start().expect("an environment");
    let slow = Work { pause_ms: 60_000, ..Work::new(Behavior::Succeed) };
    let outcome = environment.invoke(&slow.payload()).expect("an outcome");
    assert_eq!(outcome.error_type.as_deref(), Some("Extension.Crash"));
    assert_eq!(outcome.extension_exits[0].1.and_then(|exit| exit.code()), Some(0));
}

#[test]
fn an_extension_that_ends_while_idle_fails_the_next_invocation() {
    let mut environment = free("exit-when-idle").start().expect("an environment");
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    while environment.extension_pid().is_some() {
        thread::sleep(Duration::from_millis(1));
    }
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.error_type.as_deref(), Some("Extension.Crash"));
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
}

#[test]
fn an_extension_that_ignores_shutdown_is_killed() {
    let switches = Switches { shutdown_limit: Duration::from_millis(100), ..Switches::default() };
    let builder = free("no-shutdown").switches(switches);
    let mut environment = builder.start().expect("an environment");
    let pid = environment.extension_pid().expect("a pid");
    let shutdown = environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    assert_eq!(shutdown.exits, [("test-extension".to_string(), None)]);
    assert!(!alive(pid));
}

#[test]
fn an_environment_without_telemetry_works() {
    let builder = free("").fault(ApiFault::new(ApiCall::Subscribe, 202));
    let mut environment = builder.start().expect("an environment");
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    assert!(environment.posted().is_empty());
}

#[test]
fn a_failed_init_is_repeated_in_the_first_invocation() {
    let builder = free("").fault(ApiFault::new(ApiCall::Next, 500).times(1));
    let mut environment = builder.start().expect("an environment");
    assert_eq!(environment.init().error_type.as_deref(), Some("Extension.Crash"));
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
}

#[test]
fn without_a_function_process_events_can_be_sent_by_hand() {
    let builder = free("").function(Function::Synthetic).memory_mb(192);
    let mut environment = builder.start().expect("an environment");
    assert!(environment.send_invoke("r1").expect("an invoke"));
    let report = serde_json::json!([{
        "time": "2026-01-01T00:00:00.000Z", "type": "platform.report",
        "record": {"requestId": "r1", "status": "error", "errorType": "Runtime.OutOfMemory",
            "metrics": {"durationMs": 1.0, "memorySizeMB": 192, "maxMemoryUsedMB": 192}},
    }]);
    let report = report.to_string();
    assert_eq!(environment.post_bytes(report.as_bytes()).expect("statuses"), [Some(200)]);
    let said = |lines: &[sandbox::Line]| sandbox::count_emf(lines) > 0.5;
    assert!(environment.wait_for_lines(Duration::from_secs(60), said).expect("a wait"));
    environment.restart().expect("a restart");
    assert_eq!(environment.post_bytes(report.as_bytes()).expect("statuses"), [Some(200)]);
    environment.shutdown(ShutdownReason::Failure).expect("a shutdown");
    assert!((sandbox::count_emf(&environment.extension_lines()) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn an_extension_gets_its_variables_and_not_the_runtimes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shows-variables");
    std::fs::write(&path, "#!/bin/sh\nenv\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("permissions");
    let builder = Environment::builder().sandbox(binary()).variable("MINE", "1");
    let environment = builder.extension(sandbox::Extension::new(&path)).start();
    let lines = environment.expect("an environment").extension_lines();
    let names: Vec<_> = lines.iter().filter_map(|line| line.text.split('=').next()).collect();
    for name in ["MINE", "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "TZ"] {
        assert!(names.contains(&name), "{name} is missing");
    }
    for name in ["_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME"] {
        assert!(!names.contains(&name), "{name} is the runtime's alone");
    }
}

/// The kinds and, where they have one, the phases of init, restore and start.
fn beginnings(environment: &Environment) -> Vec<String> {
    let events = environment.telemetry();
    let begins = |event: &Value| {
        let kind = event["type"].as_str()?.strip_prefix("platform.")?;
        let phase = event["record"]["phase"].as_str().map(|phase| format!(" {phase}"));
        let known = ["initStart", "restoreStart", "restoreReport", "start"].contains(&kind);
        known.then(|| format!("{kind}{}", phase.unwrap_or_default()))
    };
    events.iter().filter_map(begins).collect()
}

#[test]
fn a_restore_follows_the_init_of_snap_start() {
    let builder = free("").initialization_type(InitializationType::SnapStart);
    let mut environment = builder.start().expect("an environment");
    assert_eq!(environment.init().status, Status::Success);
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
    let expected = ["initStart snap-start", "restoreStart", "restoreReport", "start"];
    assert_eq!(beginnings(&environment), expected);
}

#[test]
fn a_suppressed_init_can_be_reported_within_its_invocation() {
    for (suppressed_init, last) in [
        (SuppressedInit::BeforeStart, ["initStart invoke", "start"]),
        (SuppressedInit::AfterStart, ["start", "initStart invoke"]),
    ] {
        let switches = Switches { suppressed_init, ..Switches::default() };
        let mut environment = free("").switches(switches).start().expect("an environment");
        environment.invoke(&work(Behavior::Crash)).expect("an outcome");
        let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
        assert_eq!(outcome.status, Status::Success, "{outcome:?}");
        let first = ["initStart init", "start"];
        assert_eq!(beginnings(&environment), [first, last].concat());
    }
}

#[test]
fn shutdown_can_arrive_late() {
    let shutdown_left = Some(Duration::from_millis(100));
    let switches = Switches { shutdown_left, ..Switches::default() };
    let mut environment = free("no-shutdown").switches(switches).start().expect("an environment");
    environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    let lines = environment.extension_lines();
    let left = |line: &sandbox::Line| line.text.strip_prefix("left: ")?.parse::<i64>().ok();
    let left = lines.iter().find_map(left).expect("what was left");
    assert!(left <= 100, "{left} ms");
}

#[test]
fn a_connection_breaks_instead_of_an_answer() {
    let builder = free("").fault(ApiFault::broken(ApiCall::Next).times(1));
    let mut environment = builder.start().expect("an environment");
    // The test extension ends where a call fails.
    assert_eq!(environment.init().error_type.as_deref(), Some("Extension.Crash"));
    let lines = environment.extension_lines();
    assert!(lines.iter().any(|line| line.text.contains("end of file")), "{lines:?}");
    let outcome = environment.invoke(&work(Behavior::Succeed)).expect("an outcome");
    assert_eq!(outcome.status, Status::Success, "{outcome:?}");
}

#[test]
fn an_extension_without_a_cgroup_ends_with_a_killed_sandbox() {
    let folder = tempfile::tempdir().expect("a folder");
    // One that would not notice by itself.
    let path = folder.path().join("sleeps");
    std::fs::write(&path, "#!/bin/sh\nexec sleep 3600\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("permissions");
    let mut run = Command::new(binary())
        .args(["run", "builtin", "--unlimited", "--beside", "quiet", "--extension"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a run");
    // They are started one after the other: the second says that all is done for the first.
    let mut wait_for = |word: &str| loop {
        if let Some(pid) = child(run.id(), word) {
            break pid;
        }
        assert!(run.try_wait().expect("a status").is_none(), "the run ended by itself");
        thread::sleep(Duration::from_millis(1));
    };
    let pid = wait_for("sleep");
    wait_for("__extension");
    run.kill().expect("a kill");
    run.wait().expect("a status");
    // As good as for ever: a minute.
    for _ in 0..60_000 {
        if !alive(pid) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it lives on as process {pid}");
}

/// The child of a process that has this word among its arguments.
fn child(parent: u32, word: &str) -> Option<u32> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let children = threads
        .map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let pids: Vec<String> = children.collect();
    let mut pids = pids.iter().flat_map(|pids| pids.split_whitespace()).flat_map(str::parse);
    pids.find(|pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}
