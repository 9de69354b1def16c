use super::*;
use crate::scan::lexer::Lexer;
use crate::sizes::{
    AWS_WORD_SIZE, ERROR_TYPE_SIZE, FUNCTION_VERSION_SIZE, INITIALIZATION_TYPE_SIZE,
    REQUEST_ID_SIZE, SHUTDOWN_REASON_SIZE,
};
extern crate std;
use std::format;
use std::string::String;

pruned_members! {
    /// Members of each type, with the longest names and values.
    struct SampleMembers, metrics: true, {
        function_name: heapless::String<FUNCTION_NAME_MAX> = "functionName",
        initialization_type: heapless::String<INITIALIZATION_TYPE_SIZE> = "initializationType",
        memory_size_mb: u64 = "memorySizeMB",
        phase: heapless::String<AWS_WORD_SIZE> = "phase",
        request_id: heapless::String<REQUEST_ID_SIZE> = "requestId",
        status: heapless::String<AWS_WORD_SIZE> = "status",
        error_type: heapless::String<ERROR_TYPE_SIZE> = "errorType",
        shutdown_reason: heapless::String<SHUTDOWN_REASON_SIZE> = "shutdownReason",
        function_version: heapless::String<FUNCTION_VERSION_SIZE> = "functionVersion",
        deadline_ms: u64 = "deadlineMs",
    }
}

/// The pruned form of an object.
fn pruned(json: &str) -> String {
    let mut lexer = Lexer::new();
    let mut pruner = Pruner::new();
    pruner.start::<SampleMembers>(1);
    let mut rest = json.as_bytes();
    while let Some(token) = lexer.next(&mut rest).unwrap() {
        pruner.token(&token, lexer.depth());
    }
    assert!(pruner.push(b"}"));
    String::from_utf8(pruner.out.to_vec()).unwrap()
}

#[test]
fn only_declared_members_are_kept() {
    for (json, expected) in [
        ("{}", "{}"),
        (r#"{"status":"ok","x":1}"#, r#"{"status":"ok"}"#),
        (
            r#"{"metrics":{"memorySizeMB":128,"x":[{}]},"x":{"status":"no"}}"#,
            r#"{"memorySizeMB":128}"#,
        ),
        (r#"{"a":{"metrics":{"memorySizeMB":128}}}"#, "{}"),
        (r#"{"status":"first","status":"second"}"#, r#"{"status":"first"}"#),
        (r#"{"status":7,"memorySizeMB":"7"}"#, "{}"),
        (r#"{"status":{"status":"x"},"phase":["y"]}"#, "{}"),
        (r#"{"statusX":"no","statu":"no","requestIdRequestIdRequestId":"no"}"#, "{}"),
        (r#"{"\u0073tatus":"\u006fk"}"#, r#"{"status":"ok"}"#),
        (r#"{"memorySizeMB":-1,"phase":"p"}"#, r#"{"phase":"p"}"#),
    ] {
        assert_eq!(pruned(json), expected, "{json}");
    }
}

#[test]
fn pruned_strings_are_ascii_and_clipped() {
    assert_eq!(
        pruned(r#"{"status":"é\n\"\\\u2028"}"#),
        "{\"status\":\"\x7f\x7f\x7f\\\"\\\\\x7f\"}"
    );
    let long = "x".repeat(1000);
    let clipped = format!(r#"{{"status":"{}"}}"#, "x".repeat(16));
    assert_eq!(pruned(&format!(r#"{{"status":"{long}"}}"#)), clipped);
}

#[test]
fn a_member_that_does_not_fit_is_left_out_whole() {
    let quotes = "\\\"".repeat(200);
    let mut json = String::from("{");
    for (key, len) in SampleMembers::KEYS {
        json += &if *len == 0 {
            format!("\"{key}\":18446744073709551615,")
        } else {
            format!("\"{key}\":\"{quotes}\",")
        };
    }
    json += "\"x\":0}";
    let pruned = pruned(&json);
    assert!(pruned.len() <= RECORD_SIZE && pruned.ends_with('}'), "{pruned}");
    // It is still JSON that serde-json-core reads.
    #[derive(serde::Deserialize)]
    struct Any {}
    let mut unescaped = [0; STRING_MAX];
    assert!(serde_json_core::from_str_escaped::<Any>(&pruned, &mut unescaped).is_ok(), "{pruned}");
}
