use super::*;
use crate::scan::event::{ErrorType, LogLine, Report, RequestId, Status};
use crate::scan::evidence::Evidence;
extern crate std;
use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

/// The events of one body, fed in pieces of `size` bytes.
fn scan_in(scanner: &mut Scanner, body: &str, size: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for piece in body.as_bytes().chunks(size) {
        scanner.feed(piece, &mut |event| events.push(event.clone()));
    }
    scanner.end_body(&mut |event| events.push(event.clone()));
    events
}

/// The events of consecutive bodies. They are the same whatever the size of the pieces.
fn scan(bodies: &[&str]) -> (Vec<Event>, Skipped) {
    let run = |size| {
        let mut scanner = Scanner::new();
        let mut events = Vec::new();
        for body in bodies {
            events.extend(scan_in(&mut scanner, body, size));
        }
        (events, scanner.skipped())
    };
    let whole = run(usize::MAX);
    for size in [1, 2, 3, 5, 7, 64] {
        assert_eq!(run(size), whole, "pieces of {size}: {bodies:?}");
    }
    whole
}

const TIME: &str = "2026-11-22T07:34:59.678Z";
const TIME_MS: u64 = 1_795_332_899_678;
const ID: &str = "3c1a12d9-9e13-4869-b291-e5945001f202";

fn element(kind: &str, record: &str) -> String {
    format!(r#"{{"time":"{TIME}","type":"{kind}","record":{record}}}"#)
}

fn start() -> String {
    element("platform.start", &format!(r#"{{"requestId":"{ID}","version":"$LATEST"}}"#))
}

fn started() -> Event {
    let request_id = RequestId::try_from(ID).unwrap();
    Event { time_ms: Some(TIME_MS), kind: EventKind::Start { request_id } }
}

fn check(bodies: &[&str], expected: &[Event]) -> Skipped {
    let (events, skipped) = scan(bodies);
    assert_eq!(events, expected, "{bodies:?}");
    skipped
}

#[test]
fn every_event_that_concerns_memory_is_read() {
    let report = element(
        "platform.report",
        &format!(
            r#"{{"metrics":{{"durationMs":693.92,"billedDurationMs":694,"memorySizeMB":128,"maxMemoryUsedMB":1.28e2}},"tracing":{{"requestId":"no"}},"spans":[{{"status":"no"}}],"requestId":"{ID}","status":"error","errorType":"Runtime.OutOfMemory"}}"#
        ),
    );
    let body = format!(" [ {} ,\n{report}]\n", start());
    let request_id = RequestId::try_from(ID).unwrap();
    let kind = EventKind::Report(Report {
        request_id,
        status: Status::Error,
        error_type: ErrorType::OutOfMemory,
        memory_size_mb: Some(128),
        max_memory_used_mb: Some(128),
    });
    let skipped = check(&[&body], &[started(), Event { time_ms: Some(TIME_MS), kind }]);
    assert_eq!(skipped, Skipped::default());
}

#[test]
fn members_come_in_any_order() {
    let body = format!(
        r#"[{{"record":{{"requestId":"{ID}"}},"x":[{{"type":"no"}}],"type":"platform.start","time":"{TIME}"}}]"#
    );
    check(&[&body], &[started()]);
}

#[test]
fn an_odd_number_loses_only_its_figure() {
    for (text, expected) in [
        ("128", Some(128)),
        ("128.0", Some(128)),
        ("1.28e2", Some(128)),
        ("12800e-2", Some(128)),
        ("128.9", Some(128)),
        ("0.99", None),
        ("0", None),
        ("-128", None),
        ("\"128\"", None),
        ("null", None),
        ("[128]", None),
        ("1e400", Some(u32::MAX)),
        ("1e-400", None),
        ("99999999999999999999999", Some(u32::MAX)),
    ] {
        let record = format!(r#"{{"requestId":"{ID}","metrics":{{"memorySizeMB":{text}}}}}"#);
        let body = format!("[{}]", element("platform.report", &record));
        let (events, _) = scan(&[&body]);
        let [Event { kind: EventKind::Report(report), .. }] = events.as_slice() else {
            panic!("{text}: {events:?}");
        };
        assert_eq!(report.memory_size_mb, expected, "{text}");
    }
}

#[test]
fn unknown_and_malformed_events_lose_no_other_event() {
    let start = start();
    let unknown = element("platform.newThing", r#"{"requestId":7,"deep":[[{"a":[]}]]}"#);
    let no_id = element("platform.runtimeDone", r#"{"status":"error"}"#);
    let no_record = format!(r#"{{"time":"{TIME}","type":"platform.start"}}"#);
    let odd = r#"17,"platform.start",null,[{"type":"platform.start"}],{}"#;
    let body = format!("[{start},{unknown},{no_id},{no_record},{odd},{start}]");
    let skipped = check(&[&body], &[started(), started()]);
    assert_eq!(skipped, Skipped { unknown: 1, malformed: 3, resynchronised: 0, distrusted: 0 });
}

#[test]
fn after_broken_json_only_lines_are_taken() {
    let start = start();
    let fatal = element("function", "\"FATAL ERROR: JavaScript heap out of memory\"");
    for broken in [
        r#"{"time":"x","type":"function","record":oops}"#,
        r#"{"time":"x","type":"function","record":"\q"}"#,
        r#"{"time":"x","type":"function","record":"}},{"#,
        r#"{"time":"x","type":"function""#,
        "}",
        "nonsense",
    ] {
        let body = format!("[{start},{broken},{start},{fatal},{start}]");
        let (events, skipped) = scan(&[&body, &body]);
        let once = [started(), line(Evidence::Fatal)];
        assert_eq!(events, [once.clone(), once].concat(), "{broken}");
        assert!(skipped.malformed >= 2 && skipped.resynchronised >= 2, "{broken}: {skipped:?}");
        assert!(skipped.distrusted >= 2, "{broken}: {skipped:?}");
    }
}

#[test]
fn a_body_that_is_not_a_batch_gives_no_event() {
    let good = format!("[{}]", start());
    for body in ["", "[]", "{}", "7", "\"x\"", "[", "nonsense", &start(), "[[[[", "]"] {
        let (events, _) = scan(&[body, &good]);
        assert_eq!(events, [started()], "{body}");
    }
}

#[test]
fn text_that_a_function_prints_cannot_pass_for_an_event() {
    let start = start();
    let as_text = format!("{:?}", format!("}},{start}"));
    let in_text = element("function", &as_text);
    let in_object = element("function", &format!(r#"{{"message":"x","a":[{start},{start}]}}"#));
    let body = format!("[{in_text},{in_object}]");
    assert_eq!(check(&[&body], &[]), Skipped::default());
}

fn line(evidence: Evidence) -> Event {
    let kind = EventKind::Function(LogLine { request_id: None, evidence: Some(evidence) });
    Event { time_ms: Some(TIME_MS), kind }
}

#[test]
fn a_fatal_text_is_found_through_escapes() {
    let fatal =
        r#""FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n""#;
    let escaped = r#""\u0046ATAL ERROR: Reached heap limit Allocation failed - Java\u0053cript heap out of memory""#;
    for record in [fatal, escaped] {
        let body = format!("[{}]", element("function", record));
        check(&[&body], &[line(Evidence::Fatal)]);
    }
    let mention = r#"{"a":{"b":["caught java.lang.OutOfMemoryError: Java heap space"]}}"#;
    let body = format!("[{}]", element("function", mention));
    check(&[&body], &[line(Evidence::Mention)]);
}

#[test]
fn a_word_does_not_span_two_strings() {
    let body = format!("[{}]", element("function", r#"["Memory","Error"]"#));
    check(&[&body], &[]);
}

#[test]
fn a_cut_record_is_continued() {
    let start = start();
    let text = "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space ]} ";
    let record = format!(r#"{{"message":{text:?},"timestamp":"t","level":"INFO"}}"#);
    let record = record.as_str();
    let envelope = format!(r#"{{"time":"{TIME}","type":"function","record":"#);
    for at in 1..record.len() {
        let (head, tail) = record.split_at(at);
        let first = format!("[{start},{envelope}{head}}}]");
        let second = format!("[{envelope}{tail}}},{start}]");
        let (events, skipped) = scan(&[&first, &second]);
        assert_eq!(events, [started(), line(Evidence::Fatal), started()], "cut at {at}");
        assert_eq!(skipped, Skipped::default(), "cut at {at}");
    }
}

#[test]
fn a_record_can_be_cut_twice() {
    let start = start();
    let envelope = format!(r#"{{"time":"{TIME}","type":"function","record":"#);
    let bodies = [
        format!("[{envelope}\"memory allocat}}]"),
        format!("[{envelope}ion of 5 byt}}]"),
        format!("[{envelope}es failed\"}},{start}]"),
    ];
    let bodies = [bodies[0].as_str(), &bodies[1], &bodies[2]];
    assert_eq!(check(&bodies, &[line(Evidence::Fatal), started()]), Skipped::default());
}

/// The rest reads like a whole record, or is blank, and the body ends well. So what follows belongs
/// to the batch.
#[test]
fn the_rest_of_a_cut_text_is_believed_only_if_the_body_ends_well() {
    let start = start();
    let envelope = format!(r#"{{"time":"{TIME}","type":"function","record":"#);
    for (rest, taken) in [
        ("BBBB\"", 0),
        ("\"", 0),
        ("}", 0),
        ("12\"", 0),
        ("\\\"\"", 0),
        ("", 2),
        (" \t", 2),
        ("\" a\"", 2),
        ("12", 2),
    ] {
        let body = format!("[{envelope}{rest}}},{start},{start}]");
        let (events, skipped) = scan(&[&body, &format!("[{start}]")]);
        assert_eq!(events.len(), taken + 1, "{rest}: {events:?}");
        assert_eq!(skipped.distrusted > 0 || rest == "\"", taken == 0, "{rest}: {skipped:?}");
    }
}

#[test]
fn another_body_ends_a_cut_record() {
    let start = start();
    let cut = format!(r#"[{{"time":"{TIME}","type":"function","record":"MemoryErr}}]"#);
    let skipped = check(&[&cut, &format!("[{start},{start}]")], &[started(), started()]);
    assert_eq!(skipped.malformed, 1);
}

#[test]
fn a_broken_body_is_not_a_cut_one() {
    let record = format!(r#"[{{"time":"{TIME}","type":"function","record":"xx Memory"#);
    let again = format!("[{}]", element("function", "\"xx MemoryError\""));
    let mut scanner = Scanner::new();
    let mut events = Vec::new();
    scanner.feed(record.as_bytes(), &mut |event| events.push(event.clone()));
    scanner.abort_body(&mut |event| events.push(event.clone()));
    events.extend(scan_in(&mut scanner, &again, 4));
    assert_eq!(events, [line(Evidence::Mention)]);
}

#[test]
fn events_before_a_broken_body_count() {
    let mut scanner = Scanner::new();
    let mut events = Vec::new();
    scanner.feed(format!("[{},{}", start(), start()).as_bytes(), &mut |event| {
        events.push(event.clone());
    });
    scanner.abort_body(&mut |event| events.push(event.clone()));
    assert_eq!(events, [started(), started()]);
}

#[test]
fn a_record_of_any_depth_is_passed_over() {
    let deep = format!("{}{}", "[{\"a\":".repeat(500), "1".to_owned() + &"}]".repeat(500));
    let start = start();
    let body = format!("[{},{start}]", element("function", &deep));
    check(&[&body], &[started()]);
}

/// A record that is passed over in one piece is read token by token in small pieces. Both must give
/// the same, whichever byte of the record is changed.
#[test]
fn passing_over_a_quiet_record_changes_no_event() {
    let records = [
        r#"{"level":"INFO","message":"user \"17\"\n","n":[-1.5e3,{},[],true,null],"requestId":"A"}"#,
        r#"{"message":"MemoryErro","logger":{"name":"a"},"x":[{"a":false},"b"]}"#,
        r#"{"message":"Out of memory.","level":"INFO"}"#,
        r#"{"errorType":"MemoryError","errorMessage":"","stackTrace":[]}"#,
        r#"{"message":{"errorType":"Error","errorMessage":"Worker terminated due to reaching"}}"#,
        r#""plain \"text\"\tof 17\u001f""#,
        r#""Out of memory.""#,
    ];
    for record in records {
        for at in 0..record.len() {
            for byte in b"\\\"{}[]:,ut0-. ME" {
                let mut changed = record.as_bytes().to_vec();
                changed[at] = *byte;
                let element = element("function", std::str::from_utf8(&changed).unwrap());
                scan(&[&format!("[{},{element},{element},{}]", start(), start())]);
            }
        }
    }
}

#[test]
fn quiet_objects_are_passed_over() {
    let quiet = |record: &str| {
        let element = element("function", record);
        let element = ElementStart::at(element.as_bytes()).unwrap();
        FunctionRecord::of(element.record).unwrap().after_quiet() == Some(b"")
    };
    for record in [
        r#"{}"#,
        r#"{"a":{},"b":[],"c":[1,[{"d":"e"}]],"f":-1.2e3,"g":[true,false,null]}"#,
        r#"{"message":"user \"17\"","stackTrace":[],"requestId":"A"}"#,
        r#"{"message":{"a":1}}"#,
    ] {
        assert!(quiet(record), "{record}");
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    for record in [
        r#"{"message":"Out of memory."}"#,
        r#"{"message":"Out"}"#,
        r#"{"a":"MemoryError"}"#,
        r#"{"MemoryError":1}"#,
        r#"{"errorType":"a"}"#,
        r#"{"a":{"errorType":"a"}}"#,
        r#"{"a":"\u0041"}"#,
        r#"{"a": 1}"#,
        r#"{"a":1,}"#,
        r#"{"a":[1}]"#,
        r#"{"a":nul}"#,
        r#"{"a"}"#,
        &deep,
    ] {
        assert!(!quiet(record), "{record}");
    }
}
