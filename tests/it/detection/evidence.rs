//! What the evidence of one attempt proves: confirmed, suspected, or nothing.

use oom_witness_core::{Settings, Suspected};

use super::{check, check_with, suspected};

#[test]
fn the_limit_alone_with_a_timeout_counts_once() {
    // Node at 192 of 192 MB, without a line and without an errorType
    // (DataDog/datadog-lambda-extension, issue 1237).
    check(
        "100 start A
         5000 done A timeout
         --
         5100 report A timeout 192/192",
        "A suspected memory_at_limit",
    );
}

#[test]
fn a_line_an_error_type_and_the_limit_count_once() {
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
fn a_fatal_text_on_a_success_is_only_suspected() {
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

/// A failure without a report gets the report of its retry. That report tells of a success, so the
/// environment was not reset then.
#[test]
fn the_report_of_a_retry_resets_no_high_water_mark() {
    check(
        "100 start A
         110 log FATAL!
         120 done A timeout
         200 start B
         220 done B success
         230 report B success 128/128
         300 start A
         320 done A success
         330 report A success 128/128
         400 start C
         420 done C success
         430 report C success 128/128",
        "A confirmed fatal
         B suspected memory_at_limit",
    );
    // The clock was set back after the retry. The report of B is still not from before a reset.
    check(
        "100 start A
         110 log FATAL!
         120 done A timeout
         500 start A
         520 done A success
         530 report A success 128/128
         300 start B
         320 done B success
         330 report B success 128/128
         600 start C
         620 done C success
         630 report C success 128/128",
        "A confirmed fatal
         B suspected memory_at_limit",
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
