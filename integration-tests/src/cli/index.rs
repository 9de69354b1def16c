//! `INDEX.md` of a folder of recordings: what is in each, read from its first line.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

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
    let mut text = String::from(HEAD);
    for path in names {
        let recording = fs::read_to_string(&path)?;
        let first = recording.lines().next().unwrap_or_default();
        let first: Value = serde_json::from_str(first).map_err(io::Error::other)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "{}", row(&name, &first));
    }
    fs::write(folder.join("INDEX.md"), text)
}

fn row(name: &str, first: &Value) -> String {
    let attempts: Vec<_> = first["attempts"].as_array().into_iter().flatten().collect();
    let each = |tell: &dyn Fn(&Value) -> String| -> String {
        attempts.iter().map(|attempt| tell(attempt)).collect::<Vec<_>>().join("<br>")
    };
    let ends = each(&|attempt| {
        let kind = attempt["error_type"].as_str().unwrap_or_default();
        format!("{} {kind}", attempt["status"].as_str().unwrap_or_default()).trim().to_string()
    });
    let killed = each(&|attempt| attempt["killed"].as_str().unwrap_or_default().to_string());
    let labels = each(&|attempt| match attempt["out_of_memory"].as_bool() {
        Some(true) => "**yes**".to_string(),
        Some(false) => "no".to_string(),
        None => "unknown".to_string(),
    });
    let how = first["how"].as_str().unwrap_or_default();
    let asked = how.split_once(".ndjson ").map_or(how, |(_, asked)| asked).replace('|', "\\|");
    let about = first["about"].as_str().unwrap_or_default();
    let what = if about.is_empty() { format!("`{asked}`") } else { format!("{about} (`{asked}`)") };
    format!("| {name} | {} | {ends} | {killed} | {labels} | {what} |", first["memory_mb"])
}

const HEAD: &str = "# Recordings\n\nWritten by `sandbox corpus`: one line an attempt where a \
                    recording has several.\n\n\
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
            ],
        });
        assert_eq!(
            row("a", &first),
            "| a | 128 | error X<br>success | function<br>nobody | **yes**<br>no | dies \
             (`go --scenario kill`) |"
        );
    }
}
