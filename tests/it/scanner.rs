//! Bytes to events. On valid batches the scanner agrees with serde_json. After broken ones it goes
//! on, and the next whole body gives its events.
//!
//! The scanner's private parts are tested in `core/src/scan/`, and any bytes by `fuzz/scanner`.

use fastrand::Rng;
use oom_witness_core::{Event, Scanner};
use oom_witness_tests::{check_cut_record, event_text, expected_events};
use serde_json::{Map, Value, json};

/// The events as text, in pieces of the given size.
fn scan(scanner: &mut Scanner, body: &[u8], size: usize) -> Vec<String> {
    let mut events = Vec::new();
    let mut on_event = |event: &Event| events.push(event_text(event));
    for piece in body.chunks(size) {
        scanner.feed(piece, &mut on_event);
    }
    scanner.end_body(&mut on_event);
    events
}

fn random_text(rng: &mut Rng) -> String {
    const WORDS: [&str; 12] = [
        "a",
        "\"",
        "\\",
        "\n",
        "é",
        "\u{1f4a5}",
        "}},{",
        "Memory",
        "Error",
        "{\"time\":\"",
        "\u{0}",
        "]}",
    ];
    (0..rng.usize(..6)).map(|_| WORDS[rng.usize(..WORDS.len())]).collect()
}

fn random_value(rng: &mut Rng, depth: usize) -> Value {
    match rng.usize(..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i32(..)),
        3 => json!(f64::from(rng.i32(-1000..1000)) / 8.0),
        4 => json!(random_text(rng)),
        5 => (0..rng.usize(..4)).map(|_| random_value(rng, depth - 1)).collect(),
        _ => {
            let members = (0..rng.usize(..4)).map(|_| {
                let name = if rng.bool() { random_text(rng) } else { "requestId".to_owned() };
                (name, random_value(rng, depth - 1))
            });
            Value::Object(members.collect())
        }
    }
}

fn random_event(rng: &mut Rng) -> Value {
    const KINDS: [&str; 7] = [
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "platform.logsDropped",
        "function",
        "platform.newThing",
        "extension",
    ];
    let kind = KINDS[rng.usize(..KINDS.len())];
    let ids = [
        "8084fc30-5b33-4e2b-802a-57200de56109",
        "A",
        "",
        "é",
        "an id that is longer than AWS makes them, by far",
    ];
    let statuses = ["success", "error", "timeout", "failure", "weird"];
    let errors = ["Runtime.OutOfMemory", "Runtime.ExitError", "", "Extension.Crash"];
    let record = if kind == "function" {
        if rng.bool() { json!(random_text(rng)) } else { random_value(rng, 3) }
    } else {
        let mut record = Map::new();
        let pick = |rng: &mut Rng, from: &[&str]| json!(from[rng.usize(..from.len())]);
        let mut members = vec![
            ("requestId", pick(rng, &ids)),
            ("status", pick(rng, &statuses)),
            ("errorType", pick(rng, &errors)),
            ("droppedRecords", json!(rng.u32(..))),
            (
                "metrics",
                json!({
                    "durationMs": rng.f64() * 1000.0,
                    "memorySizeMB": rng.u32(..300),
                    "maxMemoryUsedMB": f64::from(rng.u32(..1200)) / 4.0,
                    "x": random_value(rng, 2),
                }),
            ),
            ("spans", random_value(rng, 3)),
            ("tracing", random_value(rng, 2)),
        ];
        rng.shuffle(&mut members);
        let count = rng.usize(3..=members.len());
        for (name, value) in members.into_iter().take(count) {
            record.insert(name.to_owned(), value);
        }
        Value::Object(record)
    };
    json!({ "time": "2026-11-22T07:34:59.678Z", "type": kind, "record": record })
}

/// serde_json's text with random blanks between tokens and some characters as `\u` escapes.
fn untidy(rng: &mut Rng, value: &Value) -> String {
    let mut out = String::new();
    let mut in_string = false;
    let mut escaped = false;
    for character in value.to_string().chars() {
        if in_string {
            if !escaped && character.is_alphanumeric() && rng.u8(..) < 8 {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out += &format!("\\u{unit:04x}");
                }
            } else {
                out.push(character);
            }
            // A `\u` escape's digits are not escaped again.
            if escaped && character == 'u' {
                in_string = true;
            }
            if !escaped && character == '"' {
                in_string = false;
            }
            escaped = !escaped && character == '\\';
        } else {
            if rng.u8(..) < 10 && !character.is_ascii_alphanumeric() && !"+-.".contains(character) {
                out.push_str([" ", "\n", "\t", "\r "][rng.usize(..4)]);
            }
            out.push(character);
            in_string = character == '"';
        }
    }
    out
}

#[test]
fn valid_batches_read_as_serde_json_reads_them() {
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let batch: Value = (0..rng.usize(..5)).map(|_| random_event(&mut rng)).collect();
        let text = untidy(&mut rng, &batch);
        let Ok(read) = serde_json::from_str::<Value>(&text) else {
            continue; // The escape of a digit of an escape is no JSON.
        };
        let mut scanner = Scanner::new();
        for size in [usize::MAX, rng.usize(1..20)] {
            assert_eq!(
                scan(&mut scanner, text.as_bytes(), size),
                expected_events(&read),
                "seed {seed}: {text}"
            );
        }
        assert_eq!(scanner.skipped().resynchronised, 0, "seed {seed}: {text}");
    }
}

#[test]
fn after_any_broken_body_the_next_whole_one_gives_its_events() {
    // Its time is another, since a body that begins like a cut record continues it.
    let good = json!([{ "time": "2026-11-22T07:35:00.000Z", "type": "platform.start", "record": { "requestId": "A" } }]);
    let good_text = good.to_string();
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let batch: Value = (0..rng.usize(1..4)).map(|_| random_event(&mut rng)).collect();
        let text = untidy(&mut rng, &batch).into_bytes();
        for at in 0..=text.len() {
            let mut broken = text.clone();
            match rng.u8(..3) {
                0 => broken.truncate(at),
                1 if at < text.len() => broken[at] = b"\"\\{}[],:0e\n\xffx"[rng.usize(..13)],
                _ => {
                    broken.splice(at..at, random_text(&mut rng).bytes());
                }
            }
            let mut scanner = Scanner::new();
            scan(&mut scanner, &broken, rng.usize(1..40));
            let after = scan(&mut scanner, good_text.as_bytes(), rng.usize(1..40));
            assert_eq!(
                after,
                expected_events(&good),
                "seed {seed} at {at}: {}",
                String::from_utf8_lossy(&broken)
            );
        }
    }
}

/// Any JSON, with platform events of each type anywhere in it.
fn random_forgery(rng: &mut Rng, depth: usize) -> Value {
    let forged = |rng: &mut Rng| {
        let kind = FORGED[rng.usize(..FORGED.len())];
        let record = json!({
            "requestId": "forged",
            "status": "error",
            "errorType": "Runtime.OutOfMemory",
            "droppedRecords": 7,
            "metrics": {"memorySizeMB": 128, "maxMemoryUsedMB": 128},
        });
        let record = if kind == "platform.fault" { json!("signal: killed") } else { record };
        json!({"time": "2026-11-22T07:34:59.678Z", "type": kind, "record": record})
    };
    match rng.usize(..if depth == 0 { 3 } else { 8 }) {
        0 => json!(random_text(rng)),
        1 => random_value(rng, 1),
        2 | 3 => forged(rng),
        4..=6 => (0..rng.usize(1..4))
            .map(|_| if rng.bool() { forged(rng) } else { random_forgery(rng, depth - 1) })
            .collect(),
        _ => json!({"a": random_forgery(rng, depth - 1), "b": [1, forged(rng), forged(rng), 2]}),
    }
}

const FORGED: [&str; 13] = [
    "platform.extension",
    "platform.fault",
    "platform.initReport",
    "platform.initRuntimeDone",
    "platform.initStart",
    "platform.logsDropped",
    "platform.report",
    "platform.restoreReport",
    "platform.restoreRuntimeDone",
    "platform.restoreStart",
    "platform.runtimeDone",
    "platform.start",
    "platform.newThing",
];

#[test]
fn a_cut_function_record_gives_no_event_of_the_platform() {
    for seed in 0..120 {
        let mut rng = Rng::with_seed(seed);
        let record = format!("{}{}", random_forgery(&mut rng, 4), " ".repeat(rng.usize(..3)));
        let cuts = (1..record.len()).filter(|at| record.is_char_boundary(*at));
        for cut in cuts.clone() {
            check_cut_record(&record, &[cut], rng.usize(1..80));
        }
        let cuts: Vec<usize> = cuts.collect();
        if cuts.len() > 2 {
            let first = cuts[rng.usize(..cuts.len() - 1)];
            let second = cuts[rng.usize(1..cuts.len())];
            if first < second {
                check_cut_record(&record, &[first, second], 4096);
            }
        }
    }
}

#[test]
fn real_captures_are_read_whole() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/rie-managed-instances");
    let mut lines = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for body in text.lines() {
            let mut scanner = Scanner::new();
            let whole = scan(&mut scanner, body.as_bytes(), usize::MAX);
            assert_eq!(scan(&mut scanner, body.as_bytes(), 1), whole);
            assert_eq!(scanner.skipped(), oom_witness_core::Skipped::default(), "{body}");
            lines += 1;
        }
    }
    assert_eq!(lines, 22);
}
