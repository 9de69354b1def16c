//! Quiet invocations: an extension has nothing to report. They measure its usual cost.
//!
//! Each is INVOKE, which the extension's next call answers, then three telemetry requests over one
//! connection: the report of the invocation before with `platform.start`, one line of the function,
//! and `platform.runtimeDone`.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::env::Environment;
use crate::env::records::{self, ReportFigures};
use crate::outcome::Status;

/// A series of quiet invocations of an environment whose function is
/// [`Function::Synthetic`](crate::Function::Synthetic).
///
/// The same number gives the same bytes in each run, because ids and times are made from it.
#[derive(Debug, Default)]
pub struct QuietInvocations {
    /// How many there were so far.
    done: u64,
}

impl QuietInvocations {
    /// Runs this many more.
    ///
    /// # Errors
    /// When the extension does not ask for the next event, or does not take its telemetry.
    pub fn run(&mut self, environment: &mut Environment, count: u32) -> io::Result<()> {
        for _ in 0..count {
            if !environment.send_invoke(&request_id(self.done))? {
                return Err(io::Error::other("the extension does not ask for the next event"));
            }
            for body in bodies(self.done) {
                let statuses = environment.post_kept(body.as_bytes())?;
                if statuses != [Some(200)] {
                    return Err(io::Error::other(format!("telemetry was answered {statuses:?}")));
                }
            }
            self.done += 1;
        }
        Ok(())
    }
}

/// The three telemetry requests of an invocation.
fn bodies(number: u64) -> [String; 3] {
    let id = request_id(number);
    let at = |ms: u64| time(number * 1000 + ms);
    let event = |ms, kind: &str, record| json!({"time": at(ms), "type": kind, "record": record});
    let (trace, success) = (trace(number), (Status::Success, None));
    let mut first = Vec::new();
    if let Some(last) = number.checked_sub(1) {
        let figures = ReportFigures {
            duration: TOOK,
            init: None,
            memory_size_mb: 192,
            max_memory_used_mb: 94,
            overhead: None,
        };
        let report = records::report(&request_id(last), success, &figures);
        first.push(event(0, "platform.report", report));
    }
    first.push(event(1, "platform.start", records::start(&id, &trace)));
    let line = format!("{}\t{id}\tINFO\tuser {number} asked for the key\n", at(20));
    let span = |name: &str, ms| json!({"name": name, "start": at(ms), "durationMs": 23.02});
    let mut done = records::runtime_done(&id, &trace, success, TOOK, 16);
    let spans = [("responseLatency", 1), ("responseDuration", 24), ("runtimeOverhead", 47)];
    done["spans"] = spans.map(|(name, ms)| span(name, ms)).to_vec().into();
    [
        Value::from(first).to_string(),
        json!([event(20, "function", Value::from(line))]).to_string(),
        json!([event(70, "platform.runtimeDone", done)]).to_string(),
    ]
}

fn trace(number: u64) -> String {
    let [high, low] = random(number, 2);
    format!("Root=1-62e900b2-{:024x};Parent={low:016x};Sampled=1", u128::from(high))
}

/// A UUID of version 4. All its parts differ from those of every other invocation.
fn request_id(number: u64) -> String {
    let [high, low] = random(number, 0);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// Two words of splitmix64. Each number and each `lane` has its own.
fn random(number: u64, lane: u64) -> [u64; 2] {
    [0, 1].map(|word| {
        let step = (number * 4 + lane + word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (step ^ step >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    })
}

fn time(after_ms: u64) -> String {
    clock::iso(EPOCH + Duration::from_millis(after_ms))
}

/// How long each takes.
const TOOK: Duration = Duration::from_micros(69_060);

/// 2026-11-22T07:00:00Z
const EPOCH: Timestamp = Timestamp::constant(1_795_330_800, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(request_id).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let lengths: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        }
    }

    #[test]
    fn an_invocation_reports_the_one_before() {
        let events = |body: &String| serde_json::from_str::<Vec<Value>>(body).expect("a batch");
        let types = |number| -> Vec<String> {
            let events = bodies(number).iter().flat_map(events).collect::<Vec<_>>();
            events.iter().map(|event| event["type"].as_str().unwrap_or_default().into()).collect()
        };
        let own = ["platform.start", "function", "platform.runtimeDone"];
        assert_eq!(types(0), own);
        assert_eq!(types(1), [&["platform.report"], &own[..]].concat());
        let reported = &events(&bodies(7)[0])[0];
        assert_eq!(reported["record"]["requestId"], request_id(6));
        assert_eq!(reported["time"], "2026-11-22T07:00:07.000Z");
        assert_eq!(bodies(7), bodies(7));
    }
}
