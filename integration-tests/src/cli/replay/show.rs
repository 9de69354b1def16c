//! The result of a replay: each request of a capture, its verdicts, and why.
//!
//! In: a capture, and the extension's detections. Out: a table and text, or JSON.

use serde::Serialize;
use serde_json::Value;

use super::super::table::table;
use super::capture::Capture;
use super::times::ReplayTimes;
use crate::count::EmfLine;

/// The result of a replay.
#[derive(Serialize)]
pub(super) struct ReplayResult {
    pub(super) count: usize,
    /// In the order of their first events. The last may have no request id.
    pub(super) requests: Vec<ReplayedRequest>,
    /// The attempts of a recording, with their labels.
    #[serde(skip)]
    pub(super) attempts: Vec<Value>,
}

/// What the platform said about one request, and the extension's verdicts.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayedRequest {
    request_id: String,
    /// Status, errorType and memory of each different end.
    platform: Vec<String>,
    lines_with_its_id: usize,
    /// Whether each of its attempts ran out of memory, if the capture says it.
    out_of_memory: Vec<&'static str>,
    pub(super) verdicts: Vec<ReplayedVerdict>,
}

/// One detection.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayedVerdict {
    confidence: Value,
    evidence: Value,
    message: String,
    /// The events with the detection's time. One of them brought the first evidence.
    first_evidence: Vec<String>,
    line: Value,
}

impl ReplayResult {
    pub(super) fn new(capture: Capture, detections: &[EmfLine], times: &ReplayTimes) -> Self {
        let mut all = Self { count: detections.len(), requests: Vec::new(), attempts: Vec::new() };
        for event in capture.events() {
            let record = &event["record"];
            let id = record["requestId"].as_str().or(record["AWSRequestId"].as_str());
            let Some(id) = id else { continue };
            let request = all.request(id);
            match event["type"].as_str().unwrap_or_default() {
                "platform.runtimeDone" | "platform.report" => {
                    let end = end(record);
                    if !request.platform.contains(&end) {
                        request.platform.push(end);
                    }
                }
                "function" => request.lines_with_its_id += 1,
                _ => {}
            }
        }
        for attempt in &capture.header.attempts {
            let request = all.request(attempt["request_id"].as_str().unwrap_or_default());
            request.out_of_memory.push(match attempt["out_of_memory"].as_bool() {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unknown",
            });
        }
        for EmfLine { message, line, .. } in detections {
            let request = all.request(line["requestId"].as_str().unwrap_or_default());
            request.verdicts.push(ReplayedVerdict {
                confidence: line["Confidence"].clone(),
                evidence: line["evidence"].clone(),
                message: message.clone(),
                first_evidence: first_evidence(&capture, line, times),
                line: line.clone(),
            });
        }
        Self { attempts: capture.header.attempts, ..all }
    }

    fn request(&mut self, id: &str) -> &mut ReplayedRequest {
        let known = self.requests.iter().position(|request| request.request_id == id);
        let number = known.unwrap_or_else(|| {
            self.requests
                .push(ReplayedRequest { request_id: id.to_string(), ..ReplayedRequest::default() });
            self.requests.len() - 1
        });
        &mut self.requests[number]
    }

    pub(super) fn verdicts(&self) -> impl Iterator<Item = &ReplayedVerdict> {
        self.requests.iter().flat_map(|request| &request.verdicts)
    }

    /// The request ids of all detections, or of the confirmed ones.
    pub(super) fn counted(&self, confirmed: bool) -> impl Iterator<Item = String> {
        self.requests.iter().flat_map(move |request| {
            let counts = request.counts()[usize::from(confirmed)];
            std::iter::repeat_n(request.request_id.clone(), counts)
        })
    }

    /// As a table and text on standard output.
    pub(super) fn show(&self) {
        let mut header = vec!["Request", "The platform said", "Verdict", "Evidence"];
        if !self.attempts.is_empty() {
            header.push("Out of memory");
        }
        let mut rows = table(&header);
        for request in &self.requests {
            let id = if request.request_id.is_empty() { "(none)" } else { &request.request_id };
            let row = [id.to_string()].into_iter().chain(request.cells());
            rows.add_row(row.take(header.len()));
        }
        println!("{rows}");
        for verdict in self.verdicts() {
            println!("\n{}", verdict.message);
            if verdict.first_evidence.is_empty() {
                println!(
                    "  no event brought it: the kernel's own counter rose, or a record was cut"
                );
            }
            for event in &verdict.first_evidence {
                println!("  {event}");
            }
        }
        println!("count {}", self.count);
    }
}

impl ReplayedRequest {
    /// How many detections it has, and how many confirmed ones.
    fn counts(&self) -> [usize; 2] {
        let confirmed = |verdict: &&ReplayedVerdict| verdict.confidence == "confirmed";
        [self.verdicts.len(), self.verdicts.iter().filter(confirmed).count()]
    }

    /// All detections, or the confirmed ones, are not as many as the attempts out of memory.
    pub(super) fn differs(&self) -> bool {
        let out_of_memory = self.out_of_memory.iter().filter(|label| **label == "yes").count();
        self.counts() != [out_of_memory; 2]
    }

    /// What the platform said, the verdict, its evidence and the labels.
    pub(super) fn cells(&self) -> [String; 4] {
        let each = |member: fn(&ReplayedVerdict) -> &Value| -> String {
            let text = |verdict| member(verdict).as_str().unwrap_or_default();
            self.verdicts.iter().map(text).collect::<Vec<_>>().join("\n")
        };
        let verdict = match self.verdicts.as_slice() {
            [] => "not counted".into(),
            _ => each(|verdict| &verdict.confidence),
        };
        let evidence = each(|verdict| &verdict.evidence);
        [self.platform.join("\n"), verdict, evidence, self.out_of_memory.join("\n")]
    }
}

fn first_evidence(capture: &Capture, line: &Value, times: &ReplayTimes) -> Vec<String> {
    let time = times.original(line["timestamp"].as_str().unwrap_or_default());
    let same = capture.events().filter(|event| event["time"] == time.as_str());
    // A clock gives a kill its time, so an event with the same time may be unrelated.
    let bears = |event: &Value| {
        let record = &event["record"];
        event["type"] == "function" && !is_blank(record)
            || record.get("errorType").is_some()
            || record["requestId"] == line["requestId"] && record.get("metrics").is_some()
    };
    same.filter(bears).map(|event| clip(&event.to_string())).collect()
}

fn is_blank(record: &Value) -> bool {
    record.as_str().is_some_and(|text| text.trim().is_empty())
}

/// `error Runtime.OutOfMemory, 127 of 128 MB`
fn end(record: &Value) -> String {
    let mut text = record["status"].as_str().unwrap_or("no status").to_string();
    if let Some(kind) = record["errorType"].as_str() {
        text.push_str(&format!(" {kind}"));
    }
    let [used, size] =
        ["maxMemoryUsedMB", "memorySizeMB"].map(|name| record["metrics"][name].as_f64());
    if let (Some(used), Some(size)) = (used, size) {
        text.push_str(&format!(", {used} of {size} MB"));
    }
    text
}

fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(EVENT_SHOWN).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// As much of an event as fits on a few lines.
const EVENT_SHOWN: usize = 400;
