//! `INDEX.md` of a folder of recordings: a row for each, from its first line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::recording::RecordingHeader;

/// Writes the index of all recordings in this folder.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            names.push(path);
        }
    }
    names.sort();
    let (mut rows, mut sums, mut all) = (String::new(), BTreeMap::new(), Sum::default());
    for path in names {
        let recording = fs::read_to_string(&path)?;
        let first = recording.lines().next().unwrap_or_default();
        let first: RecordingHeader = serde_json::from_str(first).map_err(io::Error::other)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(rows, "{}", row(&name, &first));
        for sum in [sums.entry(first.runtime.clone()).or_default(), &mut all] {
            sum.add(&first);
        }
    }
    let mut text = String::from(SUMS);
    for (runtime, sum) in sums.iter().map(|(runtime, sum)| (runtime.as_str(), sum)) {
        let _ = writeln!(text, "{}", sum.row(runtime));
    }
    let _ = writeln!(text, "{}\n{HEAD}{rows}", all.row("all"));
    fs::write(folder.join("INDEX.md"), text)
}

/// How many recordings and attempts there are.
#[derive(Default)]
struct Sum {
    recordings: usize,
    /// Attempts that did not run out of memory, and attempts that did.
    attempts: [usize; 2],
}

impl Sum {
    fn add(&mut self, first: &RecordingHeader) {
        self.recordings += 1;
        for label in first.attempts.iter().filter_map(|attempt| attempt["out_of_memory"].as_bool())
        {
            self.attempts[usize::from(label)] += 1;
        }
    }

    fn row(&self, name: &str) -> String {
        let [not, out] = self.attempts;
        format!("| {name} | {} | {out} | {not} |", self.recordings)
    }
}

fn row(name: &str, first: &RecordingHeader) -> String {
    let mut attempts: Vec<(usize, Cells)> = Vec::new();
    for attempt in first.attempts.iter().map(cells) {
        match attempts.last_mut().filter(|last| last.1 == attempt) {
            Some(last) => last.0 += 1,
            None => attempts.push((1, attempt)),
        }
    }
    let each = |tell: &dyn Fn(&(usize, Cells)) -> String| -> String {
        attempts.iter().map(tell).collect::<Vec<_>>().join("<br>")
    };
    let ends = each(&|(times, [end, ..])| match times {
        1 => end.clone(),
        times => format!("{times} times {end}"),
    });
    let [killed, labels] = [1, 2].map(|at| each(&|(_, cells)| cells[at].clone()));
    let (how, about) = (first.how.as_str(), first.about.as_str());
    let asked = how.split_once(".ndjson ").map_or(how, |(_, asked)| asked).replace('|', "\\|");
    let memory_mb = first.memory_mb.unwrap_or_default();
    let what = if about.is_empty() { format!("`{asked}`") } else { format!("{about} (`{asked}`)") };
    format!("| {name} | {memory_mb} | {ends} | {killed} | {labels} | {what} |")
}

/// How an attempt ended, what the kernel killed, and the attempt's label.
type Cells = [String; 3];

fn cells(attempt: &Value) -> Cells {
    let text = |name: &str| attempt[name].as_str().unwrap_or_default();
    let phase = attempt["phase"].as_str().map(|phase| format!("{phase}: "));
    let end = format!("{}{} {}", phase.unwrap_or_default(), text("status"), text("error_type"));
    let label = match attempt["out_of_memory"].as_bool() {
        Some(true) => "**yes**",
        Some(false) => "no",
        None => "unknown",
    };
    [end.trim().to_string(), text("killed").to_string(), label.to_string()]
}

const SUMS: &str = "# Recordings\n\nWritten by `sandbox corpus`.\n\n\
                    | Runtime | Recordings | Attempts out of memory | Attempts not |\n\
                    |---|---|---|---|\n";

const HEAD: &str = "\nA line for each attempt where a recording has several.\n\n\
                    | Recording | MB | Status, errorType | Killed | Out of memory | What |\n\
                    |---|---|---|---|---|---|\n";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::row;

    #[test]
    fn a_row_says_what_a_recording_holds() {
        let first = json!({
            "how": "sandbox record a.ndjson go --scenario kill", "memory_mb": 128, "about": "dies",
            "attempts": [
                {"status": "error", "error_type": "X", "killed": "function", "out_of_memory": true},
                {"status": "success", "killed": "nobody", "out_of_memory": false},
                {"status": "success", "killed": "nobody", "out_of_memory": false},
            ],
        });
        assert_eq!(
            row("a", &serde_json::from_value(first).expect("a header")),
            "| a | 128 | error X<br>2 times success | function<br>nobody | **yes**<br>no | dies \
             (`go --scenario kill`) |"
        );
    }
}
