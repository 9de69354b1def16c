//! Replays several captures, some at the same time, each to a new agent.
//!
//! Out: every verdict that differs from its label and why, every count without a label, and
//! precision and recall of all detections and of the confirmed ones.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::args::{AllowedDifferences, ReplayArgs};
use super::super::table::table;
use super::super::{Result, build, files_in};
use super::capture::Capture;
use super::show::{ReplayResult, ReplayedRequest};
use super::times::ReplayTimes;
use super::verdicts::Verdicts;
use super::{read, replay_capture, wrong_use};
use crate::env::Extension;
use crate::score::Score;
use crate::sync::lock;

pub(super) fn main(replay: &ReplayArgs, files: &[PathBuf]) -> Result {
    if replay.expect.is_some() {
        wrong_use("--expect is for one capture: of several, say --at-most-wrong N");
    }
    let mut captures = Vec::new();
    for file in captures_in(files)? {
        let capture = read(&file)?;
        captures.push((file, capture));
    }
    let all = ReplaySummary::of(match &replay.verdicts {
        Some(verdicts) => score_all(verdicts, captures)?,
        None => {
            let extension = build::extension(replay.extension.as_ref())?;
            replay_all(replay, captures, &extension)?
        }
    });
    if replay.json {
        println!("{:#}", json!(all));
    } else {
        all.show();
    }
    let beyond = beyond(replay.allowed, &all);
    for line in &beyond {
        eprintln!("{line}");
    }
    Ok(beyond.is_empty())
}

/// The files, and the files of the folders, sorted by name.
fn captures_in(files: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut captures = Vec::new();
    for file in files {
        if !file.is_dir() {
            captures.push(file.clone());
            continue;
        }
        let inside = files_in(file, &ENDINGS)?;
        if inside.is_empty() {
            let why = format!("{}: no .{} is in it", file.display(), ENDINGS.join(", no ."));
            return Err(io::Error::other(why));
        }
        captures.extend(inside);
    }
    Ok(captures)
}

/// Takes the counts from a file.
fn score_all(
    verdicts: &Path,
    captures: Vec<(PathBuf, Capture)>,
) -> io::Result<Vec<ReplayedCapture>> {
    let names: Vec<String> = captures.iter().map(|(file, _)| name(file)).collect();
    let verdicts = Verdicts::read(verdicts, &names)?;
    let score = |(file, capture): (PathBuf, Capture)| {
        let times = ReplayTimes::new(&capture);
        let result = ReplayResult::new(capture, verdicts.of(&name(&file)), &times);
        ReplayedCapture::new(&file, result)
    };
    Ok(captures.into_iter().map(score).collect())
}

/// Replays all captures, [`AT_ONCE`] at a time. The results have the same order.
fn replay_all(
    replay: &ReplayArgs,
    captures: Vec<(PathBuf, Capture)>,
    extension: &Extension,
) -> io::Result<Vec<ReplayedCapture>> {
    let (begun, count) = (Instant::now(), captures.len());
    log::info!("replaying {count} captures");
    let queue = Mutex::new(captures.into_iter().enumerate());
    let next = || lock(&queue).next();
    let results = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some((number, (file, capture))) = next() {
            let result = replay_capture(replay, capture, extension.clone())
                .map(|result| ReplayedCapture::new(&file, result))
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display())));
            if result.is_err() {
                while next().is_some() {} // the other threads stop
            }
            lock(&results).insert(number, result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(work);
        }
    });
    log::info!("{count} captures in {} s", begun.elapsed().as_secs());
    std::mem::take(&mut *lock(&results)).into_values().collect()
}

/// One capture, and its result.
#[derive(Serialize)]
struct ReplayedCapture {
    file: String,
    /// `None` without labels.
    differs: Option<bool>,
    #[serde(flatten)]
    result: ReplayResult,
    /// The scores of all detections and of the confirmed ones. `None` without labels.
    #[serde(skip)]
    scores: Option<[Score; 2]>,
}

impl ReplayedCapture {
    fn new(file: &Path, result: ReplayResult) -> Self {
        let score = |confirmed| Score::compare(&result.attempts, result.counted(confirmed));
        let scores = score(false).zip(score(true)).map(<[Score; 2]>::from);
        let differs = scores.map(|scores| !scores.iter().all(|score| score.is_clean()));
        Self { file: file.to_string_lossy().into_owned(), differs, result, scores }
    }

    /// The requests that differ from their labels. Without labels, those that were counted.
    fn rows(&self) -> Vec<[String; 5]> {
        let is_shown = |request: &&ReplayedRequest| match self.differs {
            Some(differs) => differs && request.differs(),
            None => !request.verdicts.is_empty(),
        };
        let row = |request: &ReplayedRequest| {
            let [ends, verdict, evidence, labels] = request.cells();
            let labels = match self.differs {
                Some(_) if labels.is_empty() => "no attempt".into(),
                Some(_) => labels,
                None => "not labelled".into(),
            };
            [name(self.file.as_ref()), ends, verdict, evidence, labels]
        };
        self.result.requests.iter().filter(is_shown).map(row).collect()
    }
}

/// All captures, and their sums.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplaySummary {
    captures: Vec<ReplayedCapture>,
    labelled: usize,
    /// How many attempts have a label, and how many of them ran out of memory.
    attempts: usize,
    out_of_memory: usize,
    /// The scores of all detections and of the confirmed ones.
    all: Score,
    confirmed: Score,
    /// Counts of captures without labels.
    #[serde(skip)]
    other_counts: usize,
}

impl ReplaySummary {
    fn of(captures: Vec<ReplayedCapture>) -> Self {
        let mut sum = Self::default();
        for one in &captures {
            if let Some([all, confirmed]) = one.scores {
                sum.labelled += 1;
                sum.all.add(all);
                sum.confirmed.add(confirmed);
            } else {
                sum.other_counts += one.result.count;
            }
            let label = |attempt: &Value| attempt["out_of_memory"].as_bool();
            for out_of_memory in one.result.attempts.iter().filter_map(label) {
                sum.attempts += 1;
                sum.out_of_memory += usize::from(out_of_memory);
            }
        }
        Self { captures, ..sum }
    }

    /// As tables on standard output.
    fn show(&self) {
        let header = ["Capture", "The platform said", "Verdict", "Evidence", "Out of memory"];
        let mut rows = table(&header);
        rows.add_rows(self.captures.iter().flat_map(ReplayedCapture::rows));
        if !rows.is_empty() {
            println!("{rows}");
        }
        if self.labelled > 0 {
            self.show_totals();
        }
        let without = self.captures.len() - self.labelled;
        if without > 0 {
            println!("captures without labels: {without}, counts: {}", self.other_counts);
        }
    }

    fn show_totals(&self) {
        let mut sums = table(&["", "Right", "Wrong", "Missed", "Precision", "Recall"]);
        for (name, score) in [("all detections", self.all), ("confirmed ones", self.confirmed)] {
            let share = |share: Option<f64>| share.map_or("-".into(), |s| format!("{s:.3}"));
            let counts = [score.right, score.wrong, score.missed].map(|count| count.to_string());
            let shares = [score.precision(), score.recall()].map(share);
            sums.add_row([name.to_string()].into_iter().chain(counts).chain(shares));
        }
        println!("{sums}");
        let differ = self.captures.iter().filter(|one| one.differs == Some(true)).count();
        let Self { labelled, attempts, out_of_memory, .. } = self;
        println!(
            "captures with labels: {labelled}, of them differ: {differ}; attempts: {attempts}, \
             out of memory: {out_of_memory}"
        );
    }
}

/// One line for each number that is larger than allowed.
fn beyond(allowed: AllowedDifferences, sum: &ReplaySummary) -> Vec<String> {
    let (all, confirmed) = (sum.all, sum.confirmed);
    let mut lines = Vec::new();
    for (is, at_most, what) in [
        (all.wrong, allowed.wrong.unwrap_or(0), "wrong"),
        (all.missed, allowed.missed.unwrap_or(0), "missed"),
        (confirmed.wrong, allowed.wrongly_confirmed.unwrap_or(usize::MAX), "wrongly confirmed"),
        (confirmed.missed, allowed.unconfirmed.unwrap_or(usize::MAX), "unconfirmed"),
    ] {
        if is > at_most {
            lines.push(format!("{is} {what}, expected at most {at_most}"));
        }
    }
    lines
}

/// A file's name without its ending.
fn name(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

/// A replay mostly waits, because a kill is replayed at the recording's own speed.
const AT_ONCE: usize = 6;

/// The endings of captures in a folder.
const ENDINGS: [&str; 3] = ["ndjson", "jsonl", "json"];
