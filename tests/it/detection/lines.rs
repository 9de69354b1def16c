//! Which attempt a line of a function belongs to.

use super::{check, check_with, managed_instances};

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
fn a_json_record_belongs_to_the_request_that_it_names() {
    check_with(
        managed_instances(),
        r#"100 start A
           105 start B
           110 json {"timestamp":"t","level":"ERROR","errorMessage":"","errorType":"MemoryError","requestId":"A","stackTrace":["x"]}
           115 report B success -
           120 report A error - Runtime.Unknown"#,
        "A confirmed unhandled",
    );
    // The record comes before the start of its invocation.
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
fn on_managed_instances_no_line_is_assigned_by_a_guess() {
    // Two invocations are open. The line waits for one that fails.
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
    // No attempt fails near the lines, so they count once for the environment.
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
