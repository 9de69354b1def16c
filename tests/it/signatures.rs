//! Signatures: one hit and one near miss for each, and the texts that real runtimes printed.
//!
//! The signatures are in `core/src/scan/signature.rs`.

use oom_witness_core::{Evidence, LogLine};
use oom_witness_tests::evidence_in_pieces;
use serde_json::{Value, json};

/// The evidence in one function record. It is the same in any pieces.
fn evidence_in(record: &Value) -> Option<Evidence> {
    let whole = evidence_in_pieces(record, usize::MAX);
    assert_eq!(evidence_in_pieces(record, 1), whole, "{record}");
    let record_alone = LogLine::of_record(record.to_string().as_bytes());
    assert_eq!(record_alone.evidence, whole, "{record}");
    if let Some(text) = record.as_str() {
        assert_eq!(LogLine::of_text(text.as_bytes()), record_alone, "{text}");
    }
    whole
}

/// The evidence in a line. It is the same with a line break and in JSON log format.
fn evidence_in_line(line: &str) -> Option<Evidence> {
    let plain = evidence_in(&json!(line));
    assert_eq!(evidence_in(&json!(format!("{line}\n"))), plain, "with a line break: {line}");
    // In JSON log format the platform wraps a line that is not JSON.
    let wrapped = json!({ "timestamp": "2026-11-22T07:34:59Z", "level": "INFO", "message": line });
    assert_eq!(evidence_in(&wrapped), plain, "wrapped: {line}");
    plain
}

fn check(expected: Option<Evidence>, lines: &[&str]) {
    for line in lines {
        assert_eq!(evidence_in_line(line), expected, "{line}");
    }
}

#[test]
fn the_last_words_of_each_runtime_are_fatal() {
    check(
        Some(Evidence::Fatal),
        &[
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - JavaScript heap out of memory",
            "FATAL ERROR: CALL_AND_RETRY_LAST Allocation failed - JavaScript heap out of memory",
            "# Fatal process OOM in Failed to reserve virtual memory for CodeRange",
            "# Fatal process out of memory: Zone",
            "panic(main thread): attempt to unwrap error: OutOfMemory",
            "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space",
            "Exception in thread \"main\" java.lang.Error: java.lang.OutOfMemoryError: Metaspace",
            "Caused by: java.lang.OutOfMemoryError: Metaspace",
            "Terminating due to java.lang.OutOfMemoryError: Java heap space",
            "Aborting due to java.lang.OutOfMemoryError: Java heap space",
            "#  fatal error: OutOfMemory encountered: Java heap space",
            "# There is insufficient memory for the Java Runtime Environment to continue.",
            "Could not reserve enough space for 8388608KB object heap",
            "Out of memory.",
            "Unhandled exception. System.OutOfMemoryException: Exception of type 'System.OutOfMemoryException' was thrown.",
            "fatal error: runtime: out of memory",
            "fatal error: runtime: cannot allocate memory",
            "runtime: out of memory: cannot allocate 4194304-byte block (66781184 in use)",
            "memory allocation of 268435456 bytes failed",
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "[FATAL] failed to allocate memory",
            "handler.rb:3:in `*': failed to allocate memory (NoMemoryError)",
            "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes) in /var/task/i.php on line 3",
            "PHP Fatal error:  Out of memory (allocated 2097152) (tried to allocate 4096 bytes) in /var/task/i.php on line 3",
            "Out of memory!",
        ],
    );
}

#[test]
fn an_error_in_the_form_of_a_runtimes_client_is_unhandled() {
    check(
        Some(Evidence::Unhandled),
        &[
            "[ERROR] MemoryError",
            "[ERROR] MemoryError: Unable to allocate\nTraceback (most recent call last):\n\u{a0}\u{a0}File \"/var/task/h.py\", line 3",
            "[ERROR] MemoryError\rTraceback (most recent call last):\r",
            "Java heap space: java.lang.OutOfMemoryError\njava.lang.OutOfMemoryError: Java heap space\n\tat example.Handler.handle(Handler.java:9)",
            "2026-11-22T07:34:59.678Z\t3c1a12d9-9e13-4869-b291-e5945001f202\tERROR\tInvoke Error \t{\"errorType\":\"RangeError\",\"errorMessage\":\"Array buffer allocation failed\",\"stack\":[]}",
            "2026-11-22T07:34:59.678Z\t3c1a12d9-9e13-4869-b291-e5945001f202\tfail\tSystem.OutOfMemoryException: Exception of type 'System.OutOfMemoryException' was thrown.",
        ],
    );
    for record in [
        json!({ "timestamp": "t", "level": "ERROR", "errorMessage": "", "errorType": "MemoryError", "requestId": "8084", "stackTrace": [] }),
        json!({ "timestamp": "t", "level": "ERROR", "requestId": "8084", "message": { "errorType": "RangeError", "errorMessage": "Array buffer allocation failed", "stackTrace": [] } }),
        json!({ "timestamp": "t", "level": "Error", "requestId": "8084", "errorType": "System.OutOfMemoryException", "errorMessage": "x", "stackTrace": [] }),
        json!({ "timestamp": "t", "level": "ERROR", "AWSRequestId": "8084", "message": "Java heap space: java.lang.OutOfMemoryError\njava.lang.OutOfMemoryError: Java heap space\n\tat X" }),
    ] {
        assert_eq!(evidence_in(&record), Some(Evidence::Unhandled), "{record}");
        // As text, the way AWS's emulator and the oldest schema send it.
        assert_eq!(evidence_in(&json!(record.to_string())), Some(Evidence::Unhandled), "{record}");
    }
}

#[test]
fn a_handled_or_quoted_error_is_a_mention() {
    check(
        Some(Evidence::Mention),
        &[
            "caught java.lang.OutOfMemoryError: Java heap space",
            "[ERROR]\t2026-11-22T07:34:59.678Z\t3c1a12d9-9e13-4869-b291-e5945001f202\tretrying after MemoryError\nTraceback (most recent call last):\n  File",
            "[ERROR] MemoryErrorHandler registered",
            "served from disk instead: failed to allocate memory (NoMemoryError)",
            "user said: FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "ffmpeg: Runtime exited with error: signal: killed",
            "Exception in thread \"main\" java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached",
        ],
    );
    for record in [
        json!({ "timestamp": "t", "level": "ERROR", "message": "retry", "logger": "root", "requestId": "8084", "errorType": "MemoryError", "errorMessage": "", "stackTrace": [] }),
        json!({ "level": "INFO", "requestId": "8084", "message": "FATAL ERROR: x JavaScript heap out of memory" }),
        json!({ "payload": { "errorType": "MemoryError", "stackTrace": [] } }),
    ] {
        assert_eq!(evidence_in(&record), Some(Evidence::Mention), "{record}");
    }
}

#[test]
fn a_near_miss_is_no_evidence() {
    check(
        None,
        &[
            "RangeError: Invalid typed array length: 9007199254740991",
            "RangeError: Invalid string length",
            "capacity overflow",
            "No space left on device",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "Out of memory. Retrying with less.",
            "FATAL ERROR: v8::ToLocalChecked Empty MaybeLocal",
            "memory allocation of 5 bytes failed, retrying",
            "{",
            "",
        ],
    );
}

/// The texts that real runtimes printed when they ran out of memory, line by line as Lambda sends
/// them.
#[test]
fn the_texts_of_real_runtimes_are_recognised() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/oom-texts");
    let strongest = |name: &str| {
        let printed = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
        let found = printed.lines().filter_map(|line| evidence_in(&json!(line)));
        found.min_by_key(|kind| *kind as u8)
    };
    for (name, expected) in [
        ("c.err", None),
        ("cpp.err", Some(Evidence::Fatal)),
        ("java_array.err", Some(Evidence::Fatal)),
        ("java_caught.out", Some(Evidence::Mention)),
        ("java_crashoom.out", Some(Evidence::Fatal)),
        ("java_direct.err", Some(Evidence::Fatal)),
        ("java_exitoom.out", Some(Evidence::Fatal)),
        ("java_gc.err", Some(Evidence::Fatal)),
        ("java_gc_serial.err", Some(Evidence::Fatal)),
        ("java_heap.err", Some(Evidence::Fatal)),
        ("java_meta.err", Some(Evidence::Fatal)),
        ("java_mmap.out", Some(Evidence::Fatal)),
        ("java_thread.err", Some(Evidence::Mention)),
        ("java_thread.out", None),
        ("node_ab_fail.err", None),
        ("node_arraybuf.err", None),
        ("node_bufalloc.err", None),
        ("node_heap.err", Some(Evidence::Fatal)),
        ("node_ineff.err", Some(Evidence::Fatal)),
        ("node_startup.err", Some(Evidence::Fatal)),
        ("node_str.err", None),
        ("node_worker.out", None),
        ("node_zygote.err", Some(Evidence::Fatal)),
        ("perl.err", Some(Evidence::Fatal)),
        ("py.err", Some(Evidence::Mention)),
        ("py_big.err", Some(Evidence::Mention)),
        ("rust.err", Some(Evidence::Fatal)),
        ("rust_cap.err", None),
    ] {
        assert_eq!(strongest(name), expected, "{name}");
    }
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, 28, "a file without an expectation");
}
