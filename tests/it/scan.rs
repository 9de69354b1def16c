//! The example `scan` of the core: it finds the invocations that ran out of memory in each kind of
//! exported log.
//!
//! The `REPORT` lines are real ones, from public issues and logs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::json;

use crate::build::build;

/// <https://github.com/aws-solutions-library-samples/cloud-intelligence-dashboards-data-collection/issues/201>
const NEAR: &str = "REPORT RequestId: fa60295b-85a2-495a-a7e2-da5c85a5eb1e\tDuration: 19266.38 ms\t\
    Billed Duration: 19267 ms\tMemory Size: 2688 MB\tMax Memory Used: 2581 MB\t";

/// <https://github.com/nishidemasami/contactform-api/issues/29>
const OTHER_ERROR: &str = "REPORT RequestId: 83269395-33ee-45a8-8a99-38f67b6faf72\t\
    Duration: 11.48 ms\tBilled Duration: 12 ms\tMemory Size: 128 MB\tMax Memory Used: 10 MB\t\
    Status: error\tError Type: Runtime.InvalidEntrypoint";

/// From the comment of a public program that had outgrown the largest function.
const KILLED: &str = "REPORT RequestId: 806ab12b-e660-4a4a-8d9a-eee01e457f98\t\
    Duration: 376256.59 ms\tBilled Duration: 376257 ms\tMemory Size: 10239 MB\t\
    Max Memory Used: 10239 MB\tInit Duration: 551.73 ms\tStatus: error\t\
    Error Type: Runtime.OutOfMemory";

/// <https://github.com/aws/aws-lambda-dotnet/issues/480>: written without tabs.
const WITHOUT_TABS: &str = "REPORT RequestId: d88fc138-1756-4e8f-b887-d44851c12b84  \
    Duration: 631.51 ms     Billed Duration: 700 ms         Memory Size: 256 MB     \
    Max Memory Used: 18 MB";

const KILLED_VERDICT: &str = "invocation 806ab12b-e660-4a4a-8d9a-eee01e457f98 ran out of memory \
    (confirmed: error_type,memory_at_limit; status error; 10239 of 10239 MB used)";

/// The example, built once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build(&["-p", "oom-witness-core", "--example", "scan"]).join("examples/scan")
    })
}

fn scan(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut scan = command.spawn().expect("scan");
    // It may end before it has read everything.
    let _ = scan.stdin.take().expect("its input").write_all(input);
    scan.wait_with_output().expect("its output")
}

/// Checks the lines that it prints for this log, and its exit code.
#[track_caller]
fn check(input: &str, code: i32, lines: &[&str]) {
    let output = scan(&[], input.as_bytes());
    let written = String::from_utf8_lossy(&output.stdout);
    assert_eq!(written.lines().collect::<Vec<_>>(), lines, "{input}");
    assert_eq!(output.status.code(), Some(code), "{written}");
}

#[test]
fn text_lines_are_read_as_lambda_writes_them() {
    check(
        &[NEAR, OTHER_ERROR, WITHOUT_TABS].join("\n"),
        0,
        &["-: 3 reports, 0 out of memory, at most 2581 of 2688 MB used (96 %): it came close"],
    );
    check(
        &["START RequestId: 806ab12b-e660-4a4a-8d9a-eee01e457f98 Version: $LATEST", KILLED]
            .join("\n"),
        1,
        &[
            &format!("-: {KILLED_VERDICT}"),
            "-: 1 reports, 1 out of memory, at most 10239 of 10239 MB used (100 %)",
        ],
    );
}

/// The line of the timeout is from a public document. The other one has its form.
#[test]
fn an_init_that_ran_out_of_memory_is_found() {
    let init = "INIT_START Runtime Version: nodejs:22.v30\tRuntime Version ARN: arn:x";
    let timeout = "INIT_REPORT Init Duration: 10009.13 ms\tPhase: init\tStatus: timeout";
    check(&[init, timeout].join("\n"), 0, &[]);
    let killed = "INIT_REPORT Init Duration: 229.04 ms\tPhase: init\tStatus: error\tError Type: Runtime.OutOfMemory";
    check(
        &[init, killed].join("\n"),
        1,
        &[
            "-: the init ran out of memory (confirmed: error_type; status error)",
            "-: 0 reports, 1 out of memory",
        ],
    );
}

/// A quotation of such a line in a function's own text is no report.
#[test]
fn a_functions_own_text_is_no_report() {
    check(&format!("INFO retry after {KILLED}"), 0, &[]);
}

#[test]
fn the_output_of_the_aws_cli_is_read() {
    let event = |stream: &str, time: u64, message: &str| json!({ "logStreamName": stream, "timestamp": time, "ingestionTime": time, "message": format!("{message}\n") });
    let id = "806ab12b-e660-4a4a-8d9a-eee01e457f98";
    let start = format!("START RequestId: {id} Version: $LATEST");
    // The fatal line has no request id, so it belongs to the invocation of its own stream.
    let fatal = "fatal error: runtime: out of memory";
    let failed = format!(
        "REPORT RequestId: {id}\tDuration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 64 MB\tStatus: error\tError Type: Runtime.ExitError"
    );
    let events = json!({ "events": [
        event("a", 1_795_332_899_000, &start),
        event("b", 1_795_332_899_001, NEAR),
        event("a", 1_795_332_899_808, fatal),
        event("a", 1_795_332_899_900, &failed),
    ]});
    let list = &events["events"];
    let lines: Vec<String> =
        list.as_array().expect("events").iter().map(serde_json::Value::to_string).collect();
    // The whole answer, `--query events`, and `jq -c '.events[]'`.
    for text in [events.to_string(), list.to_string(), lines.join("\n")] {
        check(
            &text,
            1,
            &[
                "2026-11-22T07:34:59.808Z -: invocation 806ab12b-e660-4a4a-8d9a-eee01e457f98 ran out of memory (confirmed: fatal; status error; 64 of 128 MB used)",
                "-: 2 reports, 1 out of memory, at most 2581 of 2688 MB used (96 %)",
            ],
        );
    }
}

/// `aws logs tail` with its formats `detailed` and `short`, and a log that was exported to S3.
#[test]
fn times_and_streams_before_messages_are_read() {
    let stream = "2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef";
    for (before, time) in [
        (format!("2026-11-22T07:34:59.808000+00:00 {stream} "), "2026-11-22T07:34:59.808Z"),
        (format!("2026-11-22T08:34:59.808000+01:00 {stream} "), "2026-11-22T07:34:59.808Z"),
        ("2026-11-22T07:34:59 ".to_string(), "2026-11-22T07:34:59.000Z"),
        ("2026-11-22T07:34:59.808Z ".to_string(), "2026-11-22T07:34:59.808Z"),
    ] {
        let log = format!("{before}two lines\nof one message\n{before}{KILLED}");
        check(
            &log,
            1,
            &[
                &format!("{time} -: {KILLED_VERDICT}"),
                "-: 1 reports, 1 out of memory, at most 10239 of 10239 MB used (100 %)",
            ],
        );
    }
}

#[test]
fn the_json_log_format_is_read() {
    let event = |time: &str, kind: &str, record: serde_json::Value| {
        json!({ "time": time, "type": kind, "record": record }).to_string()
    };
    let log = [
        event(
            "2026-11-22T07:34:58.000Z",
            "platform.initStart",
            json!({ "initializationType": "on-demand", "phase": "init", "functionName": "resize" }),
        ),
        event("2026-11-22T07:34:59.000Z", "platform.start", json!({ "requestId": "A" })),
        json!({ "timestamp": "2026-11-22T07:34:59Z", "level": "INFO", "message": "fine" })
            .to_string(),
        event(
            "2026-11-22T07:34:59.808Z",
            "platform.report",
            json!({
                "requestId": "A", "status": "error", "errorType": "Runtime.OutOfMemory",
                "metrics": { "memorySizeMB": 192, "maxMemoryUsedMB": 190 }
            }),
        ),
    ];
    check(
        &log.join("\n"),
        1,
        &[
            "2026-11-22T07:34:59.808Z resize: invocation A ran out of memory (confirmed: error_type; status error; 190 of 192 MB used)",
            "resize: 1 reports, 1 out of memory, at most 190 of 192 MB used (98 %)",
        ],
    );
}

#[test]
fn a_file_without_reports_is_told() {
    let output = scan(&[], b"one line\nanother\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "scan: -: no report in 2 messages\n");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

/// A record of the function has no time of its own here. It is of the invocation that runs.
#[test]
fn a_json_record_belongs_to_the_invocation_that_runs() {
    let event = |kind: &str, time: &str, record: serde_json::Value| {
        json!({ "time": time, "type": kind, "record": record }).to_string()
    };
    let start = |id: &str, time: &str| event("platform.start", time, json!({ "requestId": id }));
    let failed = |id: &str, time: &str| {
        let record =
            json!({ "requestId": id, "status": "error", "errorType": "Runtime.ExitError" });
        event("platform.report", time, record)
    };
    let fatal = json!({ "level": "ERROR", "message": "fatal error: runtime: out of memory" });
    let log = [
        start("A", "2026-11-22T07:34:59.000Z"),
        failed("A", "2026-11-22T07:34:59.500Z"),
        start("B", "2026-11-22T07:35:00.000Z"),
        fatal.to_string(),
        failed("B", "2026-11-22T07:35:00.500Z"),
    ];
    check(
        &log.join("\n"),
        1,
        &[
            "2026-11-22T07:35:00.000Z -: invocation B ran out of memory (confirmed: fatal; status error)",
            "-: 2 reports, 1 out of memory",
        ],
    );
}

#[test]
fn the_share_that_is_close_can_be_set() {
    for (percent, is_close) in [("96", true), ("97", false)] {
        let output = scan(&["--near", percent, "-"], NEAR.as_bytes());
        assert_eq!(String::from_utf8_lossy(&output.stdout).contains("it came close"), is_close);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_why() {
    for (arguments, input, why) in [
        (&["--far"][..], &b""[..], "--far is no option"),
        (&["--near", "0"], b"", "--near takes 1 to 100"),
        (&["/no/such/file"], b"", "/no/such/file: No such file"),
        (&[], b"\x1f\x8b\x08", "it is compressed"),
        (&[], b"\xff\xfe", "no text"),
        (&[], b"[1]", "an event without `message`"),
        (&[], br#"{"events":[{}]}"#, "an event without `message`"),
    ] {
        let output = scan(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
}
