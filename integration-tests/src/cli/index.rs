//! `INDEX.md` of a folder of recordings: a row for each, from its first line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::files_in;
use crate::recording::RecordingHeader;

/// Writes the index of all recordings in this folder.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    // Of each runtime: recordings, attempts that ran out of memory, and attempts that did not.
    let (mut rows, mut sums, mut all) = (String::new(), BTreeMap::new(), [0; 3]);
    for path in files_in(folder, &["ndjson"])? {
        let recording = fs::read_to_string(&path)?;
        let first = recording.lines().next().unwrap_or_default();
        let first: RecordingHeader = serde_json::from_str(first).map_err(io::Error::other)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(rows, "{}", row(&name, &first));
        for sum in [sums.entry(first.runtime).or_default(), &mut all] {
            sum[0] += 1;
            for label in first.attempts.iter().map(|attempt| &attempt["out_of_memory"]) {
                sum[1] += usize::from(*label == true);
                sum[2] += usize::from(*label == false);
            }
        }
    }
    let mut text = String::from(SUMS);
    let all = [("all".to_string(), all)];
    for (name, [recordings, out, not]) in sums.into_iter().chain(all) {
        let _ = writeln!(text, "| {name} | {recordings} | {out} | {not} |");
    }
    fs::write(folder.join("INDEX.md"), format!("{text}\n{HEAD}{rows}"))
}

fn row(name: &str, first: &RecordingHeader) -> String {
    // Equal attempts in a row share a line.
    let attempts: Vec<Cells> = first.attempts.iter().map(cells).collect();
    let equal: Vec<_> = attempts.chunk_by(|a, b| a == b).collect();
    let each = |cell: &dyn Fn(&[Cells]) -> String| -> String {
        equal.iter().map(|equal| cell(equal)).collect::<Vec<_>>().join("<br>")
    };
    let ends = each(&|equal| match equal {
        [[end, ..]] => end.clone(),
        equal => format!("{} times {}", equal.len(), equal[0][0]),
    });
    let [killed, labels] = [1, 2].map(|at| each(&|equal| equal[0][at].clone()));
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
