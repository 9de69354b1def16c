//! How many instructions each kind of event takes, from its bytes to the detector's verdict, and
//! how many a quiet invocation of the whole agent takes:
//! `cargo bench -p oom-witness-tests --bench instructions`.
//!
//! callgrind counts them, and this program compares them with `tests/data/instructions.toml`. The
//! same compiler gives about the same counts on every machine. With another compiler they are only
//! printed. With any compiler, a quiet invocation has a limit.
//!
//! `-- --record` writes the counts to that file instead of comparing. `-- --profile FILE` writes
//! how many instructions each function of the agent takes in 500 quiet invocations, for
//! callgrind_annotate(1). `OOM_WITNESS_BINARY` names another build of the agent, such as the
//! layer's file. Its counts are compared with the limit only.

mod agent;
mod bodies;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use agent::{AgentBuild, BINARY, INSTRUCTIONS_MAX, ROWS};
use bodies::{PIECE, json_lines, parse, parse_objects, plain_lines, scan};
use oom_witness_core::{Detector, Event, Scanner, Settings};

const ID: &str = "3c1a12d9-9e13-4869-b291-e5945001f202";
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/instructions.toml");

/// A count within this share of the recorded one is no change.
const TOLERANCE_PERCENT: u64 = 10;

/// Rows for whole bodies of lines: the scanner's, and serde_json's.
const BODIES: [[&str; 2]; 2] =
    [["scanner", "serde_json"], ["scanner_objects", "serde_json_objects"]];

/// One event of each kind: the name of its row, its type, its record.
fn events() -> Vec<(&'static str, &'static str, String)> {
    let id = format!(r#""requestId":"{ID}""#);
    let metrics = r#""metrics":{"durationMs":693.92,"billedDurationMs":694,"memorySizeMB":128,"maxMemoryUsedMB":128}"#;
    let phase = r#""initializationType":"on-demand","phase":"init""#;
    let failed = r#""status":"error","errorType":"Runtime.OutOfMemory""#;
    let plain = format!(r#""2026-11-22T07:34:59.678Z\t{ID}\tINFO\tuser 17 asked for the key\n""#);
    let json = r#""timestamp":"2026-11-22T07:34:59.678Z","level":"INFO","message":"user 17""#;
    let text = |line: &str| format!("{line:?}");
    vec![
        ("init_start", "platform.initStart", format!("{{{phase}}}")),
        ("init_report", "platform.initReport", format!(r#"{{{phase},"status":"success"}}"#)),
        ("start", "platform.start", format!(r#"{{{id},"version":"$LATEST"}}"#)),
        (
            "runtime_done",
            "platform.runtimeDone",
            format!(r#"{{{id},"status":"success","spans":[]}}"#),
        ),
        ("runtime_done_oom", "platform.runtimeDone", format!("{{{id},{failed}}}")),
        ("report", "platform.report", format!(r#"{{{id},{metrics},"status":"success"}}"#)),
        ("report_oom", "platform.report", format!("{{{id},{metrics},{failed}}}")),
        ("end", "platform.end", format!("{{{id}}}")),
        ("unknown", "platform.newThing", format!(r#"{{{id},"deep":[[{{}}]]}}"#)),
        ("line", "function", plain),
        ("line_json", "function", format!(r#"{{{json},{id}}}"#)),
        ("line_fatal", "function", text("fatal error: runtime: out of memory")),
        ("line_mention", "function", text("caught java.lang.OutOfMemoryError: Java heap space")),
    ]
}

/// Runs a row this many times.
fn run_row(name: &str, times: u32) {
    match name {
        "scanner" => repeat(times, || scan(&plain_lines(200), PIECE)),
        "serde_json" => repeat(times, || parse(&plain_lines(200))),
        "scanner_objects" => repeat(times, || scan(&json_lines(200), PIECE)),
        "serde_json_objects" => repeat(times, || parse_objects(&json_lines(200))),
        _ => {
            let (_, kind, record) = events().into_iter().find(|event| event.0 == name).unwrap();
            let time = "2026-11-22T07:34:59.678Z";
            let body = format!(r#"[{{"time":"{time}","type":"{kind}","record":{record}}}]"#);
            let mut scanner = Scanner::new();
            let mut detector = Detector::new(Settings::default());
            repeat(times, || {
                let mut on_event = |event: &Event| {
                    detector.observe(event, 0, &mut |detection| {
                        black_box(detection);
                    });
                };
                scanner.feed(black_box(body.as_bytes()), &mut on_event);
                scanner.end_body(&mut on_event);
            });
        }
    }
}

fn repeat(times: u32, mut run: impl FnMut()) {
    for _ in 0..times {
        run();
    }
}

/// Counts the instructions of one run. Two counts, of few and of more runs, are subtracted to leave
/// out the start of the process.
fn count(name: &str) -> Result<u64, String> {
    let total = |times: u32| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(env::current_exe().map_err(|error| error.to_string())?)
            .args(["--run", name, &times.to_string()])
            .output()
            .map_err(|error| format!("valgrind: {error}; apt-get install valgrind brings it"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        read_total(&text)
            .filter(|_| output.status.success())
            .ok_or_else(|| format!("{name}: {text}"))
    };
    let is_body = BODIES.as_flattened().contains(&name);
    let (few, more) = if is_body { (1, 3) } else { (200, 600) };
    Ok((total(more)? - total(few)?) / u64::from(more - few))
}

/// Reads callgrind's last line: `==1== Collected : 123`.
fn read_total(text: &str) -> Option<u64> {
    let rest = text.split("Collected : ").nth(1)?;
    rest.lines().next()?.trim().parse().ok()
}

fn counts() -> Result<BTreeMap<String, u64>, String> {
    let names = events().into_iter().map(|event| event.0).chain(BODIES.into_iter().flatten());
    let mut counts: BTreeMap<_, _> =
        names.map(|name| Ok((name.to_owned(), count(name)?))).collect::<Result<_, String>>()?;
    let agent = AgentBuild::build(false)?;
    for (name, vmstat) in ROWS {
        counts.insert(name.to_owned(), agent.count(vmstat)?);
    }
    Ok(counts)
}

/// True for a row of the whole agent.
fn is_of_agent(name: &str) -> bool {
    ROWS.iter().any(|row| row.0 == name)
}

/// The agent's rows that are above the limit.
fn rows_above_limit(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let count = |name: &str| counts.get(name).copied().unwrap_or(u64::MAX);
    let above = ROWS.into_iter().filter(|(name, _)| count(name) > INSTRUCTIONS_MAX);
    above.map(|(name, _)| format!("{name}: {}, at most {INSTRUCTIONS_MAX}", count(name))).collect()
}

/// The first line of the file with the counts: what they depend on.
fn build_description() -> Result<String, String> {
    let version = Command::new("rustc").arg("--version").output();
    let version = version.map_err(|error| format!("rustc: {error}"))?.stdout;
    let version = String::from_utf8_lossy(&version);
    Ok(format!("Instructions for each event, {}, {}", env::consts::ARCH, version.trim()))
}

/// Writes `name = count` lines.
fn record(counts: &BTreeMap<String, u64>) -> Result<(), String> {
    let mut text = format!("# {}\n", build_description()?);
    for (name, count) in counts {
        text += &format!("{name} = {count}\n");
    }
    fs::write(RECORDED, text).map_err(|error| format!("{RECORDED}: {error}"))
}

fn compare(counts: &BTreeMap<String, u64>) -> Result<(), String> {
    let text = fs::read_to_string(RECORDED).map_err(|error| format!("{RECORDED}: {error}"))?;
    let is_same_agent = env::var_os(BINARY).is_none();
    let is_same_compiler =
        text.lines().next() == Some(format!("# {}", build_description()?).as_str());
    let mut grown = Vec::new();
    println!("{:<24} {:>12} {:>12}", "event", "instructions", "recorded");
    for (name, count) in counts {
        let start = format!("{name} = ");
        let recorded = text.lines().find_map(|line| line.strip_prefix(&start)?.parse::<u64>().ok());
        let recorded = recorded.ok_or_else(|| format!("{name} is not in {RECORDED}"))?;
        println!("{name:<24} {count:>12} {recorded:>12}");
        let is_same = is_same_compiler && (is_same_agent || !is_of_agent(name));
        if is_same && count * 100 > recorded * (100 + TOLERANCE_PERCENT) {
            grown.push(format!("{name}: {count}, recorded {recorded}"));
        }
    }
    for [ours, theirs] in BODIES {
        let (Some(scanner), Some(serde)) = (counts.get(ours), counts.get(theirs)) else {
            return Err("nothing was counted".to_owned());
        };
        println!("{theirs} takes {:.1} times as many as {ours}", *serde as f64 / *scanner as f64);
    }
    if !is_same_compiler {
        println!("not compared: recorded by another compiler or for another processor");
    }
    if !grown.is_empty() {
        grown.push(
            "if it is meant: cargo bench -p oom-witness-tests --bench instructions -- --record"
                .to_owned(),
        );
    }
    grown.extend(rows_above_limit(counts));
    if grown.is_empty() { Ok(()) } else { Err(grown.join("\n")) }
}

/// Writes how many instructions each function takes in 500 quiet invocations. With so many, the
/// start of the agent matters little.
fn profile(file: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{file}: {error}");
    fs::write(file, "").map_err(failed)?;
    let out = fs::canonicalize(file).map_err(failed)?;
    let total = AgentBuild::build(true)?.run(ROWS[0].1, 500, &out)?;
    println!("{total} instructions in all: callgrind_annotate {file}");
    Ok(())
}

fn count_and_compare(is_recording: bool) -> Result<(), String> {
    let counts = counts()?;
    if is_recording {
        record(&counts)?;
    }
    compare(&counts)
}

fn main() -> ExitCode {
    // The sandbox starts its helpers as hidden subcommands of this program.
    if let Some(code) = sandbox::run_if_asked() {
        return code;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["--run", name, times] => {
            run_row(name, times.parse().unwrap());
            Ok(())
        }
        ["--profile", file, ..] => profile(file),
        _ => count_and_compare(words.contains(&"--record")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
