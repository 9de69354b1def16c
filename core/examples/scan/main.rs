//! Reads exported CloudWatch logs and prints which invocations ran out of memory.
//!
//! In: files, or standard input. Out: a line for each detection, and for each function how close
//! its memory came to the limit. `input.rs` finds the messages in a file, `message.rs` reads one
//! message as an event, and `summary.rs` keeps what is printed at the end.

mod input;
mod message;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::process::ExitCode;
use std::{env, fs};

use oom_witness_core::sizes::SENTENCE_SIZE;
use oom_witness_core::{
    Detection, EventKind, Settings, ShutdownReason, TIMESTAMP_LEN, Witness, format,
    write_rfc3339_ms,
};

use self::input::Message;
use self::message::Content;
use self::summary::Summary;

const HELP: &str = "\
Prints which Lambda invocations ran out of memory, from exported CloudWatch logs.

Usage: scan [--near PERCENT] [FILE]...

Without a file, or for `-`, it reads standard input. It takes:
  aws logs filter-log-events, aws logs get-log-events (JSON), also the events alone: as an array,
    or one a line
  aws logs tail, in any of its formats
  logs that were exported to S3, unpacked
  plain text, in Lambda's text or JSON log format

A function that never ran out of memory, but used at least PERCENT of it, came close. The default is
90.
Exit code: 0 if no invocation ran out of memory, 1 if one did, 2 if a file cannot be read.
";

fn main() -> ExitCode {
    let asked = match Asked::read(env::args().skip(1)) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("scan: {wrong}. `scan --help` shows the usage.");
            return ExitCode::from(2);
        }
    };
    let mut summary = Summary::new(asked.near_percent);
    let mut is_complete = true;
    for file in &asked.files {
        let result = read(file).and_then(|bytes| input::messages(&bytes));
        match result {
            Ok(messages) => {
                if scan(file, &messages, &mut summary) == 0 {
                    eprintln!("scan: {file}: no report in {} messages", messages.len());
                }
            }
            Err(why) => {
                eprintln!("scan: {file}: {why}");
                is_complete = false;
            }
        }
    }
    print!("{summary}");
    match (is_complete, summary.is_out_of_memory()) {
        (false, _) => ExitCode::from(2),
        (true, found) => ExitCode::from(u8::from(found)),
    }
}

struct Asked {
    files: Vec<String>,
    near_percent: u32,
}

impl Asked {
    /// `None`: help.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut asked = Self { files: Vec::new(), near_percent: 90 };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-h" | "--help" => return Ok(None),
                "--near" => {
                    let percent = arguments.next().and_then(|text| text.parse().ok());
                    let percent = percent.filter(|percent| (1..=100).contains(percent));
                    asked.near_percent = percent.ok_or("--near takes 1 to 100")?;
                }
                "-" => asked.files.push(argument),
                flag if flag.starts_with('-') => return Err(format!("{flag} is no option")),
                _ => asked.files.push(argument),
            }
        }
        if asked.files.is_empty() {
            asked.files.push("-".into());
        }
        Ok(Some(asked))
    }
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    if file != "-" {
        return fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Each log stream is an environment of its own.
struct Environment {
    witness: Box<Witness>,
    function: String,
    /// The time of its last event, for messages without one.
    time_ms: u64,
}

/// Returns how many reports there are.
fn scan(file: &str, messages: &[Message], summary: &mut Summary) -> u32 {
    let mut reports = 0;
    let mut environments: BTreeMap<&str, Environment> = BTreeMap::new();
    for message in messages {
        let environment = environments.entry(&message.stream).or_insert_with(|| Environment {
            witness: Box::new(Witness::new(Settings::default())),
            function: file.to_string(),
            time_ms: 0,
        });
        let Environment { witness, function, time_ms } = environment;
        let Some(Content { event, function: named }) = message::read(message) else { continue };
        if let Some(named) = named {
            *function = named;
        }
        *time_ms = event.time_ms.unwrap_or(*time_ms);
        if let EventKind::Report(report) = &event.kind {
            summary.add_report(function, report);
            reports += 1;
        }
        witness.observe(&event, *time_ms, &mut |detection| show(function, detection, summary));
    }
    for environment in environments.values_mut() {
        let Environment { witness, function, .. } = environment;
        let mut on_detection = |detection: &Detection| show(function, detection, summary);
        witness.shutdown(ShutdownReason::Spindown, &mut on_detection);
    }
    reports
}

/// `2026-11-22T07:34:59.808Z resize: invocation 3c1a12d9 ran out of memory (confirmed: ...)`
fn show(function: &str, detection: &Detection, summary: &mut Summary) {
    let mut sentence = [0; SENTENCE_SIZE];
    let length = format::sentence::write(detection, &mut sentence).unwrap_or_default();
    let text = String::from_utf8_lossy(&sentence[..length]);
    let text = text.strip_prefix("oom-witness: ").unwrap_or(&text);
    // 0: the file has no times.
    if detection.time_ms > 0 {
        let mut time = [0; TIMESTAMP_LEN];
        write_rfc3339_ms(detection.time_ms, &mut time);
        print!("{} ", String::from_utf8_lossy(&time));
    }
    println!("{function}: {text}");
    summary.add_detection(function, detection);
}
