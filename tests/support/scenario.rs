//! A small language for what Lambda sends to an extension.
//!
//! ```text
//! 100 start A                                     platform.start, 100 ms after the epoch of tests
//! 110 log FATAL ERROR: ...                        a function record that is text
//! 110 json {"requestId":"A","message":"..."}      a function record that is an object
//! 120 done A error Runtime.OutOfMemory            platform.runtimeDone
//! 130 report A error 128/128 Runtime.OutOfMemory  platform.report: used/size in MB, or - for none
//! 10 initStart on-demand init nodejs:20.v22       and its runtime, if it has one
//! 20 initDone on-demand init error Runtime.OutOfMemory
//! 25 initReport on-demand init success
//! 10 restoreStart
//! 20 restoreDone failure Runtime.OutOfMemory
//! 25 restoreReport failure
//! 30 event platform.newThing {"any":"record"}
//! 110 kill                                        the kernel's counter rose
//! --                                              the body ends here, another begins
//! shutdown failure                                SHUTDOWN for this reason
//! restart                                         another process goes on from the snapshot
//! ```

use serde_json::{Value, json};

/// The epoch of tests: 2026-11-22T07:00:00Z.
const EPOCH_MS: u64 = 1_795_330_800_000;

/// A parsed scenario.
#[derive(Clone, Debug)]
pub struct EventScript {
    /// What happens, in the order in which the extension learns of it.
    pub steps: Vec<ScriptStep>,
}

/// One thing that happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ScriptStep {
    /// A telemetry event, as JSON.
    Event(String),
    /// The kernel's `oom_kill` counter rose at this time, milliseconds since the epoch.
    Kill(u64),
    /// A body ends and another begins.
    NextBody,
    /// The agent's process ends and another goes on from its snapshot.
    Restart,
    /// The environment ends, for this reason.
    Shutdown(String),
}

impl EventScript {
    /// Parses the language above.
    ///
    /// # Panics
    /// On a line that is not of this language: the test is wrong.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self { steps: lines.map(step).collect() }
    }

    /// The time that a line of the language means, milliseconds since the epoch.
    #[must_use]
    pub const fn time_ms(time_ms: u64) -> u64 {
        EPOCH_MS + time_ms
    }
}

fn step(line: &str) -> ScriptStep {
    if line == "--" {
        return ScriptStep::NextBody;
    }
    if line == "restart" {
        return ScriptStep::Restart;
    }
    if let Some(reason) = line.strip_prefix("shutdown ") {
        return ScriptStep::Shutdown(reason.to_owned());
    }
    let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no time: {line}"));
    let time_ms: u64 = time.parse().unwrap_or_else(|_| panic!("no time: {line}"));
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    if verb == "kill" {
        return ScriptStep::Kill(EPOCH_MS + time_ms);
    }
    let (kind, record) = event(verb, rest);
    let time = timestamp(EPOCH_MS + time_ms);
    // The order of members that Lambda uses.
    let (kind, record) = (json!(kind), record.to_string());
    ScriptStep::Event(format!(r#"{{"time":"{time}","type":{kind},"record":{record}}}"#))
}

fn event(verb: &str, rest: &str) -> (String, Value) {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let word = |at: usize| words.get(at).copied();
    let kind = match verb {
        "done" => "platform.runtimeDone",
        "initDone" => "platform.initRuntimeDone",
        "initReport" => "platform.initReport",
        "initStart" => "platform.initStart",
        "json" | "log" => "function",
        "report" => "platform.report",
        "restoreDone" => "platform.restoreRuntimeDone",
        "restoreReport" => "platform.restoreReport",
        "restoreStart" => "platform.restoreStart",
        "start" => "platform.start",
        "event" => word(0).unwrap_or_default(),
        _ => panic!("unknown verb {verb}"),
    };
    let object = || rest.split_once(' ').map_or("null", |(_, record)| record);
    let record = match verb {
        "log" => json!(rest),
        "json" => json_of(rest),
        "event" => json_of(object()),
        "start" => json!({ "requestId": word(0), "version": "$LATEST" }),
        "done" => with_error(json!({ "requestId": word(0), "status": word(1) }), word(2)),
        "report" => report(&words),
        "initStart" => {
            let mut record = json!({ "initializationType": word(0), "phase": word(1) });
            if let Some(version) = word(2) {
                record["runtimeVersion"] = json!(version);
            }
            record
        }
        "initDone" | "initReport" => {
            let record =
                json!({ "initializationType": word(0), "phase": word(1), "status": word(2) });
            with_error(record, word(3))
        }
        _ => with_error(json!({ "status": word(0) }), word(1)),
    };
    (kind.to_owned(), record)
}

fn report(words: &[&str]) -> Value {
    let word = |at: usize| words.get(at).copied();
    let mut metrics = json!({ "durationMs": 12.5 });
    if let Some((used, size)) = word(2).and_then(|figures| figures.split_once('/')) {
        metrics["billedDurationMs"] = json!(13);
        metrics["maxMemoryUsedMB"] = json_of(used);
        metrics["memorySizeMB"] = json_of(size);
    }
    let record = json!({ "requestId": word(0), "metrics": metrics, "status": word(1) });
    with_error(record, word(3))
}

fn with_error(mut record: Value, error_type: Option<&str>) -> Value {
    if let Some(error_type) = error_type {
        record["errorType"] = json!(error_type);
    }
    record
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON: {text}: {error}"))
}

fn timestamp(ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).expect("a test's time"));
    at.expect("a test's time").strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
