//! Replays several captures, some at the same time, each to a new agent.
//!
//! Out: every verdict that differs from its label and why, every count without a label, and
//! precision and recall of all detections and of the confirmed ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::super::args::{AllowedDifferences, Replay};
use super::super::progress::Progress;
use super::super::table::table;
use super::super::{Result, build};
use super::capture::Capture;
use super::show::{ReplayResult, Request};
use super::{read, tell, wrong_use};
use crate::env::Extension;
use crate::score::Score;

pub(super) fn main(replay: &Replay, files: &[PathBuf]) -> Result {
    if replay.expect.is_some() {
        wrong_use("--expect is for one capture: of several, say --at-most-wrong N");
    }
    let mut captures = Vec::new();
    for file in captures_in(files)? {
        let capture = read(&file)?;
        captures.push((file, capture));
    }
    let extension = build::extension(replay.extension.as_ref())?;
    let all = ReplaySummary::of(tell_all(replay, captures, &extension)?);
    if replay.json {
        println!("{:#}", all.json());
    } else {
        all.show();
    }
    let beyond = beyond(replay.allowed, all.scores);
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
        let mut inside = Vec::new();
        for entry in fs::read_dir(file)? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if ENDINGS.contains(&ending) && path.is_file() {
                inside.push(path);
            }
        }
        if inside.is_empty() {
            let why = format!("{}: no .{} is in it", file.display(), ENDINGS.join(", no ."));
            return Err(io::Error::other(why));
        }
        inside.sort();
        captures.extend(inside);
    }
    Ok(captures)
}

/// Replays all captures, [`AT_ONCE`] at a time. The results have the same order.
fn tell_all(
    replay: &Replay,
    captures: Vec<(PathBuf, Capture)>,
    extension: &Extension,
) -> io::Result<Vec<ReplayedCapture>> {
    let begun = Instant::now();
    let count = captures.len();
    let bar = Progress::new().bar("replay", count as u64);
    let queue = Mutex::new(captures.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut ones = Vec::new();
        while let Some((number, (file, capture))) = next() {
            bar.says(&name(&file));
            match tell(replay, capture, extension.clone()) {
                Ok(found) => {
                    ones.push((number, ReplayedCapture { score: scores(&found), file, found }));
                }
                Err(error) => {
                    while next().is_some() {} // the other threads stop
                    return Err(io::Error::other(format!("{}: {error}", file.display())));
                }
            }
            bar.advance();
        }
        Ok(ones)
    };
    let mut ones = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(count)).map(|_| scope.spawn(work)).collect();
        let mut ones = Vec::new();
        for worker in workers {
            let ended = worker.join().map_err(|_| io::Error::other("a replay panicked"))?;
            ones.extend(ended?);
        }
        io::Result::Ok(ones)
    })?;
    bar.ends(&format!("{count} captures in {} s", begun.elapsed().as_secs()));
    ones.sort_by_key(|(number, _)| *number);
    Ok(ones.into_iter().map(|(_, one)| one).collect())
}

/// One capture, and its result.
struct ReplayedCapture {
    file: PathBuf,
    found: ReplayResult,
    /// The scores of all detections and of the confirmed ones. `None` without labels.
    score: Option<[Score; 2]>,
}

impl ReplayedCapture {
    /// `None` without labels.
    fn differs(&self) -> Option<bool> {
        self.score.map(|scores| !scores.iter().all(|score| score.is_clean()))
    }

    /// The requests that differ from their labels. Without labels, those that were counted.
    fn rows(&self) -> Vec<[String; 5]> {
        let is_shown = |request: &Request<'_>| match self.differs() {
            Some(differs) => differs && request.differs(),
            None => !request.said.is_empty(),
        };
        let requests = self.found.requests();
        let row = |request: &Request<'_>| {
            let [ends, verdict, evidence, labels] = request.cells();
            let labels = match self.score {
                Some(_) if labels.is_empty() => "no attempt".into(),
                Some(_) => labels,
                None => "not labelled".into(),
            };
            [name(&self.file), ends, verdict, evidence, labels]
        };
        requests.iter().filter(|request| is_shown(request)).map(row).collect()
    }

    fn json(&self) -> Value {
        let mut json = self.found.json();
        json["file"] = self.file.to_string_lossy().into();
        json["differs"] = self.differs().into();
        json
    }
}

/// All captures, and their sums.
struct ReplaySummary {
    ones: Vec<ReplayedCapture>,
    scores: [Score; 2],
    labelled: usize,
    /// Counts of captures without labels.
    other_counts: usize,
}

impl ReplaySummary {
    fn of(ones: Vec<ReplayedCapture>) -> Self {
        let mut all = Self { scores: Default::default(), labelled: 0, other_counts: 0, ones };
        for one in &all.ones {
            if let Some(scores) = one.score {
                all.labelled += 1;
                all.scores.iter_mut().zip(scores).for_each(|(sum, score)| sum.add(score));
            } else {
                all.other_counts += one.found.said.len();
            }
        }
        all
    }

    /// How many attempts have a label, and how many of them ran out of memory.
    fn attempts(&self) -> [usize; 2] {
        let attempts = || self.ones.iter().flat_map(|one| &one.found.capture.header.attempts);
        let labels = || attempts().filter_map(|attempt| attempt["out_of_memory"].as_bool());
        [labels().count(), labels().filter(|label| *label).count()]
    }

    /// As tables on standard output.
    fn show(&self) {
        let mut rows = table(&["Capture", "The platform said", "Verdict", "Evidence", LABEL]);
        self.ones.iter().flat_map(ReplayedCapture::rows).for_each(|row| {
            rows.add_row(row);
        });
        if !rows.is_empty() {
            println!("{rows}");
        }
        if self.labelled > 0 {
            self.show_totals();
        }
        let without = self.ones.len() - self.labelled;
        if without > 0 {
            println!("captures without labels: {without}, counts: {}", self.other_counts);
        }
    }

    fn show_totals(&self) {
        let mut sums = table(&["", "Right", "Wrong", "Missed", "Precision", "Recall"]);
        for (name, score) in NAMES.iter().zip(self.scores) {
            let share = |share: Option<f64>| match share {
                Some(share) => format!("{share:.3}"),
                None => "-".into(),
            };
            let counts = [score.right, score.wrong, score.missed].map(|count| count.to_string());
            let shares = [score.precision(), score.recall()].map(share);
            sums.add_row([name.to_string()].into_iter().chain(counts).chain(shares));
        }
        println!("{sums}");
        let [attempts, out_of_memory] = self.attempts();
        let differ = self.ones.iter().filter(|one| one.differs() == Some(true)).count();
        println!(
            "captures with labels: {}, of them differ: {differ}; attempts: {attempts}, \
             out of memory: {out_of_memory}",
            self.labelled
        );
    }

    fn json(&self) -> Value {
        let [attempts, out_of_memory] = self.attempts();
        json!({
            "captures": self.ones.iter().map(ReplayedCapture::json).collect::<Vec<_>>(),
            "labelled": self.labelled, "attempts": attempts, "outOfMemory": out_of_memory,
            "all": self.scores[0].json(), "confirmed": self.scores[1].json(),
        })
    }
}

/// The scores of all detections and of the confirmed ones. `None`: nothing is labelled.
fn scores(found: &ReplayResult) -> Option<[Score; 2]> {
    let lines = || found.said.iter().map(|said| &said.line);
    let id = |line: &Value| line["requestId"].as_str().unwrap_or_default().to_string();
    let confirmed = lines().filter(|line| line["Confidence"] == "confirmed").map(id);
    let attempts = &found.capture.header.attempts;
    Some([Score::compare(attempts, lines().map(id))?, Score::compare(attempts, confirmed)?])
}

/// One line for each number that is larger than allowed.
fn beyond(allowed: AllowedDifferences, [all, confirmed]: [Score; 2]) -> Vec<String> {
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

const LABEL: &str = "Out of memory";

const NAMES: [&str; 2] = ["all detections", "confirmed ones"];
