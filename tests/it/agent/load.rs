//! Load: more telemetry than Lambda would ever send, as fast as the agent takes it. Nothing is lost
//! or counts twice.
//!
//! Memory under load is checked by each test (`support/cost.rs`), and over many invocations in
//! `steady_state`.

use super::support::bodies::{OOM, bodies};
use super::support::script::Script;
use super::support::sender::post_until_taken;
use std::thread;

/// 100,000 lines in bodies of a thousand, as fast as the agent takes them. One of them is evidence.
#[test]
fn evidence_in_a_flood_of_lines_counts_once() {
    let mut script = Script::start_ready(&[]);
    let mut sender = script.connect();
    let line =
        "110 log 2026-11-22T07:00:00.000Z INFO a line like any other, of eighty bytes or so\n";
    let flood = &bodies(&line.repeat(1000))[0];
    let evidence = "150 log java.lang.OutOfMemoryError: Java heap space";
    assert_eq!(sender.post(&bodies("100 start A")[0]), 200);
    for round in 0..100 {
        assert_eq!(sender.post(flood), 200);
        if round == 50 {
            assert_eq!(sender.post(&bodies(&format!("{line}{evidence}"))[0]), 200);
        }
    }
    assert_eq!(sender.post(&bodies("200 done A error\n 210 report A error 94/192")[0]), 200);
    script.invoke();
    script.end(1).assert_warnings(0);
}

/// Each sends megabytes, over connections that make room for each other. No body is cut because
/// another connection waits.
#[test]
fn ten_senders_of_long_lines_at_once_all_count() {
    let mut script = Script::start_ready(&[]);
    let port = script.port;
    let long = "x".repeat(1 << 20);
    thread::scope(|scope| {
        for number in 0..10 {
            let scenario = format!("{} log {long}\n", 100 + number);
            let body = bodies(&format!("{}{scenario}", OOM.replace(" A", &format!(" r{number}"))));
            scope.spawn(move || {
                for _ in 0..3 {
                    post_until_taken(port, &body[0]);
                }
            });
        }
    });
    script.invoke();
    script.end(10).assert_warnings(0);
}
