//! The agent's last line counts what was dropped, evicted, guessed or resynchronised.
//!
//! What a sink took is counted in the tests of `sinks`.

use super::support::agent_process::AgentOutput;
use super::support::bodies::{OOM, bodies};
use super::support::script::Script;

/// Posts these bodies and ends the agent. It has written this many metrics.
fn post_and_end(bodies: &[impl AsRef<[u8]>], metrics: usize) -> AgentOutput {
    let script = Script::start_ready(&[]);
    let mut sender = script.connect();
    for body in bodies {
        assert_eq!(sender.post(body), 200);
    }
    script.end(metrics)
}

#[test]
fn after_a_quiet_invocation_every_counter_is_zero() {
    post_and_end(&bodies("100 start A\n 200 done A success\n 210 report A success 94/192"), 0)
        .assert_once(
            "detections: 0, evicted: 0, guessed: 0, logs_dropped: 0, extensions_crashed: 0 }, \
         Tally { written: 0, unwritten: 0, sent: 0, unknown: 0, dropped: 0, overflowed: 0, \
         failed: 0 }, Skipped { unknown: 0, malformed: 0, resynchronised: 0, distrusted: 0 }, \
         connections given up: 0",
        );
}

#[test]
fn detections_and_written_lines_are_counted() {
    let other = OOM.replace(" A", " B");
    post_and_end(&bodies(&format!("{OOM}\n{other}")), 2)
        .assert_once("detections: 2,")
        .assert_once("written: 2,");
}

/// There are more attempts than the table has rows. None has ended.
#[test]
fn attempts_evicted_from_a_full_table_are_counted() {
    let start = |number| format!("{number} start r{number}\n");
    let starts: String = (100..140).map(start).collect();
    let output = post_and_end(&bodies(&starts), 0);
    let line = output.last_line();
    let evicted = line.split_once("evicted: ").and_then(|(_, rest)| rest.split(',').next());
    let evicted: u32 = evicted.and_then(|count| count.parse().ok()).expect("a count");
    assert!((1..40).contains(&evicted), "{line}");
}

/// There are more lines without an attempt than the detector holds.
#[test]
fn lines_assigned_by_a_guess_are_counted() {
    let line = |at| format!("{at} log java.lang.OutOfMemoryError: Java heap space\n");
    let lines: String = (300..320).map(line).collect();
    let output = post_and_end(&bodies(&format!("100 start A\n{lines}")), 1);
    let line = output.last_line();
    assert!(line.contains("guessed: ") && !line.contains("guessed: 0"), "{line}");
}

#[test]
fn lines_that_lambda_dropped_are_counted() {
    let dropped =
        r#"100 event platform.logsDropped {"reason":"slow","droppedRecords":17,"droppedBytes":9}"#;
    post_and_end(&bodies(&format!("{dropped}\n{dropped}")), 0).assert_once("logs_dropped: 34,");
}

#[test]
fn crashed_extensions_are_counted() {
    let crash = r#"100 event platform.extension {"name":"x","state":"Exited","errorType":"Extension.Crash"}"#;
    post_and_end(&bodies(crash), 0).assert_once("extensions_crashed: 1 ");
}

#[test]
fn events_of_an_unknown_type_are_counted() {
    post_and_end(&bodies("100 event platform.newThing {}\n 110 event platform.other {}"), 0)
        .assert_once("Skipped { unknown: 2, malformed: 0, resynchronised: 0, distrusted: 0 }");
}

#[test]
fn malformed_events_are_counted() {
    let output =
        post_and_end(&["[{\"type\":\"platform.report\",\"record\":{}},7,{\"time\":]", "[]"], 0);
    let line = output.last_line();
    assert!(!line.contains("malformed: 0") && !line.contains("resynchronised: 0"), "{line}");
}

#[test]
fn connections_that_made_room_are_counted() {
    let script = Script::start_ready(&[]);
    let mut silent: Vec<_> = (0..5).map(|_| script.connect()).collect();
    script.post("[]");
    silent[0].assert_closed();
    script.end(0).assert_once("connections given up: 4");
}
