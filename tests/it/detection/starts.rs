//! Cold starts: which invocation is the first after an init or a restore.

use oom_witness_core::{InitializationType, Settings, StartKind};
use oom_witness_tests::{EventScript, run};

/// Checks the start of each detection of a scenario. Every invocation in it runs out of memory.
fn check(script: &str, expected: &[(&str, StartKind)]) {
    check_with(Settings::default(), script, expected);
}

fn check_with(settings: Settings, script: &str, expected: &[(&str, StartKind)]) {
    let result = run(&EventScript::parse(script), settings);
    let lines = result.lines();
    let subjects = lines.lines().filter_map(|line| line.split(' ').next());
    let starts: Vec<(&str, StartKind)> =
        subjects.zip(&result.detections).map(|(subject, found)| (subject, found.start)).collect();
    assert_eq!(starts, expected, "{script}");
}

#[test]
fn the_first_invocation_after_an_init_is_a_cold_start() {
    check(
        "10 initStart on-demand init
         20 initDone on-demand init success
         30 start A
         40 done A error Runtime.OutOfMemory
         50 start B
         60 done B error Runtime.OutOfMemory",
        &[("A", StartKind::Cold), ("B", StartKind::Warm)],
    );
    // The init is reported late, and twice.
    check(
        "30 start A
         10 initStart on-demand init
         10 initStart on-demand init
         40 done A error Runtime.OutOfMemory
         50 start B
         60 done B error Runtime.OutOfMemory",
        &[("A", StartKind::Cold), ("B", StartKind::Warm)],
    );
}

#[test]
fn the_first_invocation_after_a_reset_is_a_cold_start() {
    check(
        "10 initStart on-demand init
         30 start A
         40 done A error Runtime.OutOfMemory
         50 start B
         51 initStart on-demand invoke
         60 done B error Runtime.OutOfMemory
         70 start C
         80 done C error Runtime.OutOfMemory",
        &[("A", StartKind::Cold), ("B", StartKind::Cold), ("C", StartKind::Warm)],
    );
}

#[test]
fn an_init_that_was_made_long_before_is_no_cold_start() {
    check(
        "10 initStart on-demand init
         10010 start A
         10020 done A error Runtime.OutOfMemory",
        &[("A", StartKind::Cold)],
    );
    check(
        "10 initStart on-demand init
         10011 start A
         10020 done A error Runtime.OutOfMemory",
        &[("A", StartKind::Proactive)],
    );
    check(
        "10 initStart provisioned-concurrency init
         20 initReport provisioned-concurrency init success
         60000 start A
         60010 done A error Runtime.OutOfMemory
         60020 start B
         60030 done B error Runtime.OutOfMemory",
        &[("A", StartKind::Proactive), ("B", StartKind::Warm)],
    );
}

#[test]
fn the_first_invocation_after_a_restore_is_a_cold_start() {
    check(
        "10 restoreStart
         20 restoreReport success
         30 start A
         30 start A
         40 done A error Runtime.OutOfMemory
         50 start B
         60 done B error Runtime.OutOfMemory",
        &[("A", StartKind::Cold), ("B", StartKind::Warm)],
    );
}

#[test]
fn a_start_that_is_not_known_is_neither_cold_nor_warm() {
    check(
        "5 initStart on-demand init
         6 initReport on-demand init error Runtime.OutOfMemory",
        &[("init", StartKind::Unknown)],
    );
    check("40 done A error Runtime.OutOfMemory", &[("A", StartKind::Unknown)]);
    let managed = InitializationType::ManagedInstances;
    check_with(
        Settings { initialization_type: managed, ..Settings::default() },
        "10 initStart lambda-managed-instances init
         30 start A
         40 report A error - Runtime.OutOfMemory",
        &[("A", StartKind::Unknown)],
    );
}

#[test]
fn a_start_survives_a_restart() {
    let quiet: String = (0..20)
        .map(|number| format!("{0} start r{number}\n{0} done r{number} success\n", 60 + number))
        .collect();
    // The rows of A and B have become tombstones.
    check(
        &format!(
            "10 initStart on-demand init
             30 start A
             40 done A success
             50 start B
             55 done B success
             {quiet}
             restart
             90 report A success 128/128
             91 report B error 128/128"
        ),
        &[("A", StartKind::Cold), ("B", StartKind::Warm)],
    );
}
