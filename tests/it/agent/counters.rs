//! The last line counts what was dropped, evicted, guessed or resynchronised.

use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{AgentRecord, Script};

/// Posts these bodies. The agent has counted this often when it ends.
fn told(bodies: &[impl AsRef<[u8]>], metrics: usize) -> AgentRecord {
    let script = Script::ready(&[]);
    let mut sender = script.sender();
    for body in bodies {
        assert_eq!(sender.post(body), 200);
    }
    script.end(metrics)
}

#[test]
fn quiet_lives_have_nothing_to_tell() {
    told(&bodies("100 start A\n 200 done A success\n 210 report A success 94/192"), 0).once(
        "detections: 0, evicted: 0, guessed: 0, logs_dropped: 0, extensions_crashed: 0 }, \
         Tally { written: 0, unwritten: 0, sent: 0, unknown: 0, dropped: 0, overflowed: 0, \
         failed: 0 }, Skipped { unknown: 0, malformed: 0, resynchronised: 0, distrusted: 0 }, \
         connections given up: 0",
    );
}

#[test]
fn detections_and_lines_written() {
    let other = OOM.replace(" A", " B");
    told(&bodies(&format!("{OOM}\n{other}")), 2).once("detections: 2,").once("written: 2,");
}

/// More attempts than the table has rows. None has ended.
#[test]
fn attempts_that_left_a_full_table() {
    let start = |number| format!("{number} start r{number}\n");
    let starts: String = (100..140).map(start).collect();
    let left = told(&bodies(&starts), 0);
    let line = left.last();
    let evicted = line.split_once("evicted: ").and_then(|(_, rest)| rest.split(',').next());
    let evicted: u32 = evicted.and_then(|count| count.parse().ok()).expect("a count");
    assert!((1..40).contains(&evicted), "{line}");
}

/// More lines without an attempt than the detector holds.
#[test]
fn lines_that_were_placed_by_guess() {
    let line = |at| format!("{at} log java.lang.OutOfMemoryError: Java heap space\n");
    let lines: String = (300..320).map(line).collect();
    let left = told(&bodies(&format!("100 start A\n{lines}")), 1);
    let line = left.last();
    assert!(line.contains("guessed: ") && !line.contains("guessed: 0"), "{line}");
}

#[test]
fn lines_that_lambda_threw_away() {
    let dropped =
        r#"100 event platform.logsDropped {"reason":"slow","droppedRecords":17,"droppedBytes":9}"#;
    told(&bodies(&format!("{dropped}\n{dropped}")), 0).once("logs_dropped: 34,");
}

#[test]
fn extensions_that_crashed() {
    let crash = r#"100 event platform.extension {"name":"x","state":"Exited","errorType":"Extension.Crash"}"#;
    told(&bodies(crash), 0).once("extensions_crashed: 1 ");
}

#[test]
fn events_of_an_unknown_type() {
    told(&bodies("100 event platform.newThing {}\n 110 event platform.other {}"), 0)
        .once("Skipped { unknown: 2, malformed: 0, resynchronised: 0, distrusted: 0 }");
}

#[test]
fn malformed_and_unknown_events_are_counted() {
    let left = told(&["[{\"type\":\"platform.report\",\"record\":{}},7,{\"time\":]", "[]"], 0);
    let line = left.last();
    assert!(!line.contains("malformed: 0") && !line.contains("resynchronised: 0"), "{line}");
}

#[test]
fn connections_that_made_room() {
    let script = Script::ready(&[]);
    let mut silent: Vec<_> = (0..5).map(|_| script.sender()).collect();
    assert_eq!(script.sender().post("[]"), 200);
    silent[0].is_closed();
    script.end(0).once("connections given up: 4");
}
