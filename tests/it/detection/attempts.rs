//! Which events belong to one attempt: retries, repetitions, inits, restores, SHUTDOWN, evictions.

use oom_witness_core::Settings;
use oom_witness_core::sizes::ATTEMPTS_MAX;
use oom_witness_tests::{EventScript, run};

use super::{check, check_with, managed_instances};

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

/// The clock was set back before the init that follows the failure. The report is that of the
/// retry, which had started by then, although the first attempt has no report yet.
#[test]
fn a_report_is_of_the_attempt_that_had_started() {
    check(
        "1000 start A
         1100 done A error Runtime.OutOfMemory
         380 initStart on-demand invoke
         390 initDone on-demand invoke error Runtime.OutOfMemory
         400 start A
         450 done A success
         460 report A success 128/128
         shutdown spindown",
        "A confirmed error_type
         A suspected memory_at_limit",
    );
}

#[test]
fn repeated_events_count_once() {
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
fn an_unknown_status_is_neither_success_nor_failure() {
    check(
        "100 start A\n110 log FATAL!\n120 done A exploded\nshutdown spindown",
        "A suspected fatal",
    );
    check("100 start A\n110 log FATAL!\n120 done A\nshutdown spindown", "A suspected fatal");
}

#[test]
fn shutdown_after_a_failure_fails_open_attempts() {
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
fn late_events_of_an_evicted_attempt_count_nothing() {
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
fn a_full_table_decides_the_attempt_that_it_evicts() {
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
    let result = run(&scenario, Settings::default());
    assert_eq!((result.counters.logs_dropped, result.counters.extensions_crashed), (123, 1));
    assert_eq!(result.lines(), "");
}
