//! `sandbox replay`: replays telemetry captures and shows the agent's verdict for each request.
//!
//! In: a capture. Out: for each request id the platform's words, the verdict with its evidence, and
//! the event with the first evidence. The agent itself decides: it runs as in an environment and
//! gets the capture over its real APIs. There is no function, no cgroup and no kill. The kernel's
//! counter rises where a recording says so. With several captures: how well the verdicts agree with
//! the labels.

mod capture;
mod counter;
mod several;
mod show;
mod times;
mod verdicts;

use std::fs;
use std::io;
use std::mem;
use std::path::Path;

use clap::CommandFactory;
use clap::error::ErrorKind;
use serde_json::{Value, json};

use super::args::{AllowedDifferences, ReplayArgs, SandboxArgs};
use super::{Result, build};
use crate::count::{EmfLine, emf_lines};
use crate::env::{Environment, Extension, Function, Memory, ShutdownReason};
use crate::identity::InitializationType;
use crate::recording::RecordingLine;
use crate::switches::Switches;
use capture::Capture;
use show::ReplayResult;
use times::ReplayTimes;

pub(super) fn main(replay: &ReplayArgs) -> Result {
    match replay.files.as_slice() {
        [file] if !file.is_dir() && replay.verdicts.is_none() => one(replay, file),
        files => several::main(replay, files),
    }
}

fn one(replay: &ReplayArgs, file: &Path) -> Result {
    if replay.allowed != AllowedDifferences::default() {
        wrong_use("--at-most-... is for several captures or a folder: of one, say --expect N");
    }
    let capture = read(file)?;
    let extension = build::extension(replay.extension.as_ref())?;
    let result = replay_capture(replay, capture, extension)?;
    if replay.json {
        println!("{:#}", json!(result));
    } else {
        result.show();
    }
    let expected = replay.expect.filter(|expected| usize::try_from(*expected) != Ok(result.count));
    if let Some(expected) = expected {
        eprintln!("expected a count of {expected}");
    }
    Ok(expected.is_none())
}

/// Ends this process as clap does when arguments exclude each other.
fn wrong_use(why: &str) -> ! {
    SandboxArgs::command().error(ErrorKind::ArgumentConflict, why).exit()
}

fn read(file: &Path) -> io::Result<Capture> {
    let text = match file.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        _ => fs::read_to_string(file),
    };
    let capture = text.map_err(|error| error.to_string()).and_then(|text| Capture::read(&text));
    capture.map_err(|why| io::Error::other(format!("{}: {why}", file.display())))
}

/// A new environment.
fn start(replay: &ReplayArgs, capture: &Capture, extension: Extension) -> io::Result<Environment> {
    let environment = Environment::builder()
        .memory(Memory::Unlimited)
        .memory_mb(replay.memory.or(memory_mb(capture)).unwrap_or(USUAL_MB))
        .function(Function::Synthetic)
        .initialization_type(initialization_type(capture))
        .switches(Switches { own_telemetry: false, ..Switches::default() })
        .extension(extension)
        .start()?;
    match &environment.init().error_type {
        Some(why) => Err(io::Error::other(format!("the extension did not come up: {why}"))),
        None => Ok(environment),
    }
}

/// Replays a capture to a new agent, and returns its detections.
fn replay_capture(
    replay: &ReplayArgs,
    capture: Capture,
    extension: Extension,
) -> io::Result<ReplayResult> {
    let counter = counter::folder(&capture)?;
    let mut extension = extension.variable("OOM_WITNESS_CGROUP", counter.path().to_string_lossy());
    extension.variables.extend(capture.header.variables.iter().cloned());
    extension.variables.extend(replay.variables.iter().cloned());
    let start = || start(replay, &capture, extension.clone());
    let times = ReplayTimes::new(&capture);
    let detections = replay_lines(&start, &capture, counter.path(), &times)?;
    Ok(ReplayResult::new(capture, &detections, &times))
}

fn replay_lines(
    start: &dyn Fn() -> io::Result<Environment>,
    capture: &Capture,
    counter: &Path,
    times: &ReplayTimes,
) -> io::Result<Vec<EmfLine>> {
    let mut environment = start()?;
    let (mut reason, mut detections) = (ShutdownReason::Spindown, Vec::new());
    for (number, line) in capture.lines.iter().enumerate() {
        times.wait_for(number);
        match line {
            RecordingLine::Post(body) => {
                let statuses = environment.post_kept(times.moved(body).as_bytes())?;
                if statuses.iter().any(|status| *status != Some(200)) {
                    return Err(io::Error::other("the extension took no telemetry"));
                }
            }
            RecordingLine::Invoke(id) => {
                environment.send_invoke(id)?;
            }
            // Telemetry may follow, so SHUTDOWN is sent where the process ends.
            RecordingLine::Shutdown(word) => reason = reason_of(word),
            RecordingLine::Kills(kills) => counter::rise(counter, *kills)?,
            RecordingLine::Restart => {
                environment.shutdown(mem::replace(&mut reason, ShutdownReason::Spindown))?;
                environment.restart()?;
            }
            RecordingLine::Replaced => {
                environment.shutdown(mem::replace(&mut reason, ShutdownReason::Spindown))?;
                detections.extend(emf_lines(&environment.extension_lines()));
                environment = start()?;
            }
        }
    }
    environment.shutdown(reason)?;
    detections.extend(emf_lines(&environment.extension_lines()));
    Ok(detections)
}

fn reason_of(text: &str) -> ShutdownReason {
    match text.to_ascii_lowercase().as_str() {
        "timeout" => ShutdownReason::Timeout,
        "failure" => ShutdownReason::Failure,
        _ => ShutdownReason::Spindown,
    }
}

fn initialization_type(capture: &Capture) -> InitializationType {
    let start = capture.events().find(|event| event["type"] == "platform.initStart");
    let word = start.map(|event| event["record"]["initializationType"].clone()).unwrap_or_default();
    serde_json::from_value(word).unwrap_or_default()
}

/// The memory size in the capture: the header's, or that of a report.
fn memory_mb(capture: &Capture) -> Option<u64> {
    let reported = |event: Value| event["record"]["metrics"]["memorySizeMB"].as_u64();
    capture.header.memory_mb.or_else(|| capture.events().find_map(reported))
}

/// The memory size if neither the arguments nor the capture say one.
const USUAL_MB: u64 = 128;
