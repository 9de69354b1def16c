//! Detection rules: one scenario for each, and the detections that it must give.

use oom_witness_core::limits::ATTEMPTS_MAX;
use oom_witness_core::{InitializationType, Settings, Suspected};
use oom_witness_tests::{EventScript, run, run_in_pieces};

const FATAL: &str =
    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";

fn check_with(settings: Settings, scenario: &str, expected: &str) {
    let text = scenario;
    let scenario = EventScript::parse(&text.replace("FATAL!", FATAL));
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    let outcome = run(&scenario, settings);
    assert_eq!(outcome.lines(), expected.join("\n"), "{text}");
    for size in [1, 13] {
        assert_eq!(run_in_pieces(&scenario, settings, size), outcome, "in pieces of {size}");
    }
}

fn check(scenario: &str, expected: &str) {
    check_with(Settings::default(), scenario, expected);
}

fn suspected(suspected: Suspected) -> Settings {
    Settings { suspected, ..Settings::default() }
}

fn managed_instances() -> Settings {
    let initialization_type = InitializationType::ManagedInstances;
    Settings { initialization_type, ..Settings::default() }
}

#[test]
fn equality_alone_with_a_timeout_counts_once() {
    // DataDog/datadog-lambda-extension#1237: Node at 192 of 192 MB, no line, no errorType.
    check(
        "100 start A
         5000 done A timeout
         --
         5100 report A timeout 192/192",
        "A suspected memory_at_limit",
    );
}

#[test]
fn line_error_type_and_equality_count_once() {
    check(
        "100 start A
         110 log FATAL!
         120 done A error Runtime.OutOfMemory
         --
         130 report A error 128/128 Runtime.OutOfMemory",
        "A confirmed error_type,fatal",
    );
}

#[test]
fn a_line_before_its_start_counts_once() {
    for scenario in [
        "110 log FATAL!
         100 start A
         120 done A error Runtime.OutOfMemory
         130 report A error 128/128",
        "110 log FATAL!
         --
         100 start A
         120 done A error Runtime.OutOfMemory
         130 report A error 128/128",
    ] {
        check(scenario, "A confirmed error_type,fatal");
    }
}

#[test]
fn a_line_after_the_end_or_the_report_counts_once() {
    check(
        "100 start A
         120 done A error Runtime.OutOfMemory
         125 log FATAL!
         130 report A error 128/128
         140 log FATAL!
         shutdown failure",
        "A confirmed error_type",
    );
}

#[test]
fn a_line_between_two_invocations_belongs_to_the_one_that_had_started() {
    check(
        "100 start A
         120 done A success
         250 log FATAL!
         200 start B
         260 done B error Runtime.ExitError
         shutdown failure",
        "B confirmed fatal",
    );
    check(
        "100 start A
         120 done A error Runtime.ExitError
         125 log FATAL!
         200 start B
         260 done B success
         shutdown spindown",
        "A confirmed fatal",
    );
}

#[test]
fn an_unknown_event_costs_nothing_else() {
    check(
        r#"100 start A
           110 event platform.newThing {"requestId":17}
           115 event platform.report {"status":"error"}
           120 done A error Runtime.OutOfMemory"#,
        "A confirmed error_type",
    );
}

#[test]
fn a_retry_with_the_same_request_id_is_another_attempt() {
    check(
        "100 start A
         120 done A error Runtime.OutOfMemory
         60000 start A
         60010 report A error 128/128 Runtime.OutOfMemory
         60020 done A error Runtime.OutOfMemory
         --
         60100 report A error 128/128 Runtime.OutOfMemory
         60100 report A error 128/128 Runtime.OutOfMemory",
        "A confirmed error_type
         A confirmed error_type",
    );
}

#[test]
fn repetitions_count_once() {
    check(
        "100 start A
         120 done A error Runtime.OutOfMemory
         --
         100 start A
         120 done A error Runtime.OutOfMemory
         130 report A error 128/128 Runtime.OutOfMemory
         --
         130 report A error 128/128 Runtime.OutOfMemory
         100 start A
         shutdown failure",
        "A confirmed error_type",
    );
}

#[test]
fn a_report_alone_counts() {
    check("130 report A error 127/128 Runtime.OutOfMemory", "A confirmed error_type");
    check("130 report A success 128/128", "A suspected memory_at_limit");
    check("130 report A error 129/128", "A suspected memory_at_limit");
}

#[test]
fn near_the_limit_is_not_at_the_limit() {
    check("100 start A\n120 done A success\n130 report A success 191/192\nshutdown spindown", "");
    check("100 start A\n120 done A timeout\n130 report A timeout 127/128\nshutdown timeout", "");
}

#[test]
fn a_size_missing_from_the_report_comes_from_the_environment() {
    let settings = Settings { memory_size_mb: Some(128), ..Settings::default() };
    let report = r#"130 event platform.report {"requestId":"A","status":"timeout","metrics":{"maxMemoryUsedMB":128}}"#;
    check_with(settings, report, "A suspected memory_at_limit");
    check(report, "");
}

#[test]
fn two_hints_on_a_failure_confirm_each_other() {
    check(
        "100 start A
         110 log caught java.lang.OutOfMemoryError: Java heap space
         120 done A timeout
         130 report A timeout 128/128",
        "A confirmed memory_at_limit,mention",
    );
    check(
        "100 start A
         110 log caught java.lang.OutOfMemoryError: Java heap space
         120 done A success
         130 report A success 128/128",
        "A suspected memory_at_limit,mention",
    );
}

#[test]
fn a_fatal_text_on_a_success_is_a_childs() {
    check(
        "100 start A\n110 log FATAL!\n120 done A success\n130 report A success 90/128",
        "A suspected fatal",
    );
}

#[test]
fn a_suspicion_waits_for_the_report_the_next_start_or_the_end() {
    let mention = "100 start A\n110 log a MemoryError\n120 done A success\n";
    check(mention, "");
    for end in ["130 report A success 90/128", "200 start B", "shutdown spindown"] {
        check(&format!("{mention}{end}"), "A suspected mention");
    }
}

#[test]
fn ignored_suspicions_can_still_be_confirmed() {
    let settings = suspected(Suspected::Ignore);
    check_with(settings, "130 report A success 128/128\nshutdown spindown", "");
    check_with(
        settings,
        "100 start A
         110 log FATAL!
         200 start B
         120 done A error Runtime.ExitError",
        "A confirmed fatal",
    );
}

#[test]
fn once_counts_each_kind_on_successes_once() {
    check_with(
        suspected(Suspected::Once),
        "100 start A
         120 done A success
         130 report A success 128/128
         200 start B
         220 done B success
         230 report B success 128/128
         300 start C
         310 log a MemoryError
         320 done C success
         330 report C success 128/128
         400 start D
         420 done D timeout
         430 report D timeout 128/128",
        "A suspected memory_at_limit
         C suspected mention
         D suspected memory_at_limit",
    );
}

#[test]
fn shutdown_fails_open_attempts() {
    for (reason, expected) in [
        ("failure", "A confirmed fatal"),
        ("FAILURE", "A confirmed fatal"),
        ("ReleaseFail", "A confirmed fatal"),
        ("timeout", "A confirmed fatal"),
        ("spindown", "A suspected fatal"),
        ("somethingNew", "A suspected fatal"),
    ] {
        check(&format!("100 start A\n110 log FATAL!\nshutdown {reason}"), expected);
    }
}

#[test]
fn an_unknown_status_is_neither_success_nor_failure() {
    check(
        "100 start A\n110 log FATAL!\n120 done A exploded\nshutdown spindown",
        "A suspected fatal",
    );
    check("100 start A\n110 log FATAL!\n120 done A\nshutdown spindown", "A suspected fatal");
}

#[test]
fn an_on_demand_init_and_its_invocation_are_one_attempt() {
    check(
        "10 initStart on-demand init
         20 initDone on-demand init error Runtime.OutOfMemory
         25 initReport on-demand init error Runtime.OutOfMemory
         100 start A
         110 initStart on-demand invoke
         115 initDone on-demand invoke error Runtime.OutOfMemory
         120 done A error Runtime.OutOfMemory
         130 report A error 128/128 Runtime.OutOfMemory",
        "init confirmed error_type",
    );
    check(
        "10 initStart on-demand init
         15 log a MemoryError
         20 initDone on-demand init success
         100 start A
         120 done A timeout
         130 report A timeout 128/128",
        "A confirmed memory_at_limit,mention",
    );
}

#[test]
fn a_suppressed_init_belongs_to_the_next_start() {
    check(
        "100 start A
         120 done A error Runtime.OutOfMemory
         500 initStart on-demand invoke
         505 log FATAL!
         508 initDone on-demand invoke error Runtime.ExitError
         510 start B
         520 done B error Runtime.ExitError
         shutdown failure",
        "A confirmed error_type
         init confirmed fatal",
    );
    check(
        "100 start A
         120 done A error Runtime.OutOfMemory
         500 initStart on-demand invoke
         505 log a MemoryError
         508 initDone on-demand invoke success
         510 start B
         520 done B timeout
         530 report B timeout 128/128",
        "A confirmed error_type
         B confirmed memory_at_limit,mention",
    );
}

#[test]
fn provisioned_inits_and_restores_are_attempts_of_their_own() {
    check(
        "10 initStart provisioned-concurrency init
         20 initDone provisioned-concurrency init error Runtime.OutOfMemory
         25 initReport provisioned-concurrency init error Runtime.OutOfMemory
         100 start A
         120 done A error Runtime.OutOfMemory",
        "init confirmed error_type
         A confirmed error_type",
    );
    check(
        "10 restoreStart
         20 restoreDone failure Runtime.OutOfMemory
         25 restoreReport failure Runtime.OutOfMemory
         100 start A
         120 done A success
         shutdown spindown",
        "restore confirmed error_type",
    );
    check(
        "20 initDone provisioned-concurrency init error Runtime.OutOfMemory",
        "init confirmed error_type",
    );
}

#[test]
fn a_kernel_kill_counts_for_the_attempt_that_ran() {
    check("100 start A\n120 done A error Runtime.ExitError\n118 kill", "A confirmed kernel_kill");
    check(
        "100 start A
         120 done A success
         125 kill
         200 start B
         shutdown spindown",
        "A suspected kernel_kill",
    );
    check(
        "100 start A
         110 kill
         --
         120 done A error Runtime.OutOfMemory
         130 report A error 128/128",
        "A confirmed error_type,kernel_kill",
    );
    check("100 start A\n110 kill\nrestart\n130 report A error 90/128", "A confirmed kernel_kill");
}

#[test]
fn managed_instances_never_guess() {
    // Two invocations are open: the line waits for the failure.
    check_with(
        managed_instances(),
        "100 start A
         105 start B
         110 log FATAL!
         115 report A success -
         120 report B error - Runtime.ExitError
         shutdown failure",
        "B confirmed fatal",
    );
    // No attempt fails near them, so they count once for the environment.
    check_with(
        managed_instances(),
        "100 start A
         110 log FATAL!
         111 log FATAL!
         30000 report A error - Runtime.ExitError
         shutdown spindown",
        "environment suspected fatal",
    );
    // One kill ends several invocations. Each has its own report.
    check_with(
        managed_instances(),
        "100 start A
         105 start B
         120 report A error - Runtime.OutOfMemory
         121 report B error - Runtime.OutOfMemory",
        "A confirmed error_type
         B confirmed error_type",
    );
}

#[test]
fn json_records_name_their_request() {
    check_with(
        managed_instances(),
        r#"100 start A
           105 start B
           110 json {"timestamp":"t","level":"ERROR","errorMessage":"","errorType":"MemoryError","requestId":"A","stackTrace":["x"]}
           115 report B success -
           120 report A error - Runtime.Unknown"#,
        "A confirmed unhandled",
    );
    // Before its start is known.
    check(
        r#"110 json {"timestamp":"t","level":"ERROR","errorMessage":"","errorType":"MemoryError","requestId":"A","stackTrace":["x"]}
           100 start A
           120 done A success"#,
        "A confirmed unhandled",
    );
}

#[test]
fn a_foreign_id_in_a_line_makes_no_attempt() {
    check(
        "100 start A
         110 log caught MemoryError RequestId: 11111111-2222-3333-4444-555555555555 elsewhere
         120 done A success
         130 report A success 90/128
         shutdown spindown",
        "A suspected mention",
    );
}

#[test]
fn a_line_without_any_attempt_counts_once_for_the_environment() {
    check("110 log FATAL!\n111 log FATAL!\nshutdown failure", "environment confirmed fatal");
    check("110 log FATAL!\nshutdown spindown", "environment suspected fatal");
}

#[test]
fn late_signals_for_attempts_that_left_the_table_are_recognised() {
    let mut scenario = String::from("100 start A\n120 done A error Runtime.OutOfMemory\n");
    for n in 0..40 {
        let at = 1000 + n * 100;
        scenario += &format!(
            "{at} start N{n}\n{} done N{n} success\n{} report N{n} success 90/128\n",
            at + 10,
            at + 20
        );
    }
    scenario += "130 report A error 128/128 Runtime.OutOfMemory\n130 report A error 128/128 Runtime.OutOfMemory\n";
    scenario += "120 done A error Runtime.OutOfMemory\n100 start A\n--\nshutdown spindown";
    check(&scenario, "A confirmed error_type");
}

#[test]
fn a_full_table_settles_the_attempt_that_leaves() {
    let mut scenario = String::new();
    for n in 0..ATTEMPTS_MAX {
        scenario += &format!("{} start N{n}\n", 100 + n);
    }
    scenario = format!(
        "50 start A\n60 json {{\"requestId\":\"A\",\"message\":\"a MemoryError\"}}\n{scenario}"
    );
    check_with(managed_instances(), &scenario, "A suspected mention");
}

#[test]
fn dropped_logs_and_crashed_extensions_are_counted() {
    let scenario = EventScript::parse(
        r#"100 event platform.logsDropped {"droppedRecords":123,"droppedBytes":12345,"reason":"slow"}
           110 event platform.extension {"name":"x","state":"Exited","errorType":"Extension.Crash"}"#,
    );
    let outcome = run(&scenario, Settings::default());
    assert_eq!((outcome.counters.logs_dropped, outcome.counters.extensions_crashed), (123, 1));
    assert_eq!(outcome.lines(), "");
}
