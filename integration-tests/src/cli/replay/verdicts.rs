//! The verdicts of a detector that is no extension, for `replay --verdicts`.
//!
//! In: a file with one JSON object for each count. Out: the counts of each capture, as if an
//! extension had made them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::count::EmfLine;

/// One count.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Verdict {
    /// The capture's file name, without its ending.
    recording: String,
    /// Empty if the detector knows only that some attempt ran out of memory.
    #[serde(default)]
    request_id: String,
    #[serde(default = "confirmed")]
    confidence: String,
    #[serde(default)]
    evidence: String,
}

fn confirmed() -> String {
    "confirmed".into()
}

/// The counts of each capture, by its name.
pub(super) struct Verdicts(BTreeMap<String, Vec<EmfLine>>);

impl Verdicts {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, a line is no verdict, or a verdict is about none of `captures`.
    pub(super) fn read(file: &Path, captures: &[String]) -> io::Result<Self> {
        let is_again = |name: &String| captures.iter().filter(|other| *other == name).count() > 1;
        if let Some(name) = captures.iter().find(|name| is_again(name)) {
            return Err(io::Error::other(format!("two captures are named {name:?}")));
        }
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| in_file(file, &error.to_string()))?;
        let mut counts: BTreeMap<String, Vec<EmfLine>> = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |why: &str| in_file(file, &format!("line {}: {why}", number + 1));
            let verdict: Verdict =
                serde_json::from_str(line).map_err(|error| wrong(&error.to_string()))?;
            if !captures.contains(&verdict.recording) {
                return Err(wrong(&format!("there is no capture {:?}", verdict.recording)));
            }
            if !["confirmed", "suspected"].contains(&verdict.confidence.as_str()) {
                return Err(wrong("a confidence is confirmed or suspected"));
            }
            let line = json!({
                "requestId": verdict.request_id,
                "Confidence": verdict.confidence,
                "evidence": verdict.evidence,
            });
            let count = EmfLine { value: 1.0, message: String::new(), line };
            counts.entry(verdict.recording).or_default().push(count);
        }
        Ok(Self(counts))
    }

    /// The counts of this capture.
    pub(super) fn of(&self, capture: &str) -> &[EmfLine] {
        self.0.get(capture).map_or(&[], Vec::as_slice)
    }
}

fn in_file(file: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", file.display()))
}
