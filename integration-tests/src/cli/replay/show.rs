//! Shows a replay: each request of a capture, its verdict, and why.

use serde_json::{Value, json};

use super::super::table::table;
use super::capture::Capture;
use super::times::Times;
use crate::count::EmfLine;

/// The result of a replay.
pub(super) struct ReplayResult {
    pub(super) capture: Capture,
    pub(super) said: Vec<EmfLine>,
    pub(super) times: Times,
}

impl ReplayResult {
    /// As tables and text on standard output.
    pub(super) fn show(&self) {
        let labelled = !self.capture.header.attempts.is_empty();
        let mut header = vec!["Request", "The platform said", "Verdict", "Evidence"];
        if labelled {
            header.push("Out of memory");
        }
        let mut rows = table(&header);
        for request in self.requests() {
            let id = if request.id.is_empty() { "(none)".into() } else { request.id.clone() };
            let [ends, verdict, evidence, labels] = request.cells();
            let mut row = vec![id, ends, verdict, evidence];
            if labelled {
                row.push(labels);
            }
            rows.add_row(row);
        }
        println!("{rows}");
        for said in &self.said {
            println!("\n{}", said.message);
            let events = self.first_evidence(said);
            if events.is_empty() {
                println!(
                    "  no event brought it: the kernel's own counter rose, or a record was cut"
                );
            }
            for event in events {
                println!("  {event}");
            }
        }
        println!("count {}", self.said.len());
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let request = |request: &Request<'_>| {
            let verdict = |said: &&EmfLine| {
                json!({
                    "confidence": said.line["Confidence"], "evidence": said.line["evidence"],
                    "message": said.message, "firstEvidence": self.first_evidence(said),
                    "line": said.line,
                })
            };
            json!({
                "requestId": request.id,
                "platform": request.ends,
                "linesWithItsId": request.lines,
                "outOfMemory": request.labels,
                "verdicts": request.said.iter().map(verdict).collect::<Vec<_>>(),
            })
        };
        json!({
            "count": self.said.len(),
            "requests": self.requests().iter().map(request).collect::<Vec<_>>(),
        })
    }

    /// Each request of the capture, see [`requests`].
    pub(super) fn requests(&self) -> Vec<Request<'_>> {
        requests(&self.capture, &self.said)
    }

    /// The events with the detection's time. One of them brought the first evidence.
    fn first_evidence(&self, said: &EmfLine) -> Vec<String> {
        let time = self.times.original(said.line["timestamp"].as_str().unwrap_or_default());
        let same = self.capture.events().filter(|event| event["time"] == time.as_str());
        // A clock gives a kill its time, so an event with the same time may be unrelated.
        let bears = |event: &Value| {
            let record = &event["record"];
            event["type"] == "function"
                || record.get("errorType").is_some()
                || record["requestId"] == said.line["requestId"] && record.get("metrics").is_some()
        };
        same.filter(bears).map(|event| clip(&event.to_string())).collect()
    }
}

/// What the platform said about one request, and the extension's detections.
pub(super) struct Request<'a> {
    id: String,
    /// Status, errorType and memory of each different end.
    ends: Vec<String>,
    lines: usize,
    pub(super) said: Vec<&'a EmfLine>,
    /// Whether each of its attempts ran out of memory, if the capture says it.
    pub(super) labels: Vec<String>,
}

impl Request<'_> {
    /// All detections, or the confirmed ones, are not as many as the attempts out of memory.
    pub(super) fn differs(&self) -> bool {
        let out_of_memory = self.labels.iter().filter(|label| *label == "yes").count();
        let confirmed = |said: &&&EmfLine| said.line["Confidence"] == "confirmed";
        let counts = [self.said.len(), self.said.iter().filter(confirmed).count()];
        counts.iter().any(|count| *count != out_of_memory)
    }

    /// What the platform said, the verdict, its evidence and the labels.
    pub(super) fn cells(&self) -> [String; 4] {
        let each = |member: &str| -> String {
            let text = |said: &&EmfLine| said.line[member].as_str().unwrap_or_default().to_string();
            self.said.iter().map(text).collect::<Vec<_>>().join("\n")
        };
        let verdict = each("Confidence");
        let verdict = if verdict.is_empty() { "not counted".into() } else { verdict };
        [self.ends.join("\n"), verdict, each("evidence"), self.labels.join("\n")]
    }
}

/// Each request of the capture, in the order of their first events. The last has no request id.
fn requests<'a>(capture: &Capture, said: &'a [EmfLine]) -> Vec<Request<'a>> {
    let mut requests: Vec<Request<'a>> = Vec::new();
    let at = |requests: &mut Vec<Request<'a>>, id: &str| {
        let known = requests.iter().position(|request| request.id == id);
        known.unwrap_or_else(|| {
            let id = id.to_string();
            requests.push(Request {
                id,
                ends: Vec::new(),
                lines: 0,
                said: Vec::new(),
                labels: Vec::new(),
            });
            requests.len() - 1
        })
    };
    for event in capture.events() {
        let record = &event["record"];
        let id = record["requestId"].as_str().or(record["AWSRequestId"].as_str());
        let Some(id) = id else { continue };
        let number = at(&mut requests, id);
        match event["type"].as_str().unwrap_or_default() {
            "platform.runtimeDone" | "platform.report" => {
                let end = end(record);
                if !requests[number].ends.contains(&end) {
                    requests[number].ends.push(end);
                }
            }
            "function" => requests[number].lines += 1,
            _ => {}
        }
    }
    for attempt in &capture.header.attempts {
        let number = at(&mut requests, attempt["request_id"].as_str().unwrap_or_default());
        let label = match attempt["out_of_memory"].as_bool() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        requests[number].labels.push(label.to_string());
    }
    for said in said {
        let number = at(&mut requests, said.line["requestId"].as_str().unwrap_or_default());
        requests[number].said.push(said);
    }
    requests
}

/// `error Runtime.OutOfMemory, 127 of 128 MB`
fn end(record: &Value) -> String {
    let mut text = record["status"].as_str().unwrap_or("no status").to_string();
    if let Some(kind) = record["errorType"].as_str() {
        text.push_str(&format!(" {kind}"));
    }
    let metrics = &record["metrics"];
    if let (Some(used), Some(size)) =
        (metrics["maxMemoryUsedMB"].as_f64(), metrics["memorySizeMB"].as_f64())
    {
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
