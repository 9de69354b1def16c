//! `__function`: a function without a runtime. It speaks the Runtime API and does the [`Work`]
//! of each payload; `__worker` is one of its growing children.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use super::http::Client;
use crate::telemetry::frames;
use crate::work::{Behavior, Work};

pub(super) fn run() -> io::Result<()> {
    // On Managed Instances it serves several invocations at once, each in a thread.
    let concurrency = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok();
    let concurrency: u32 = concurrency.and_then(|number| number.parse().ok()).unwrap_or(1);
    for _ in 1..concurrency {
        thread::spawn(|| {
            if let Err(error) = serve() {
                eprintln!("built-in function: {error}");
                std::process::exit(1);
            }
        });
    }
    prepare()?;
    serve()
}

/// The init, and the restore with SnapStart. Each does what its variable says.
fn prepare() -> io::Result<()> {
    early("SANDBOX_INIT")?;
    if std::env::var("AWS_LAMBDA_INITIALIZATION_TYPE").is_ok_and(|kind| kind == "snap-start") {
        Client::connect()?.request("GET", &format!("{RUNTIME}/restore/next"), &[], &[])?;
        early("SANDBOX_RESTORE")?;
    }
    Ok(())
}

/// `grow`, or `grow-once` for each `/tmp`.
fn early(variable: &str) -> io::Result<()> {
    let what = std::env::var(variable).unwrap_or_default();
    let mark = std::env::temp_dir().join("died-once");
    if what == "grow-once" && !mark.exists() {
        std::fs::write(&mark, "")?;
        grow(CHUNK);
    }
    if what == "grow" {
        grow(CHUNK);
    }
    Ok(())
}

/// Grows until the kernel ends it, once its input has ended.
pub(super) fn worker() -> Option<ExitCode> {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    grow(WORKER_CHUNK);
}

fn serve() -> io::Result<()> {
    let mut client = Client::connect()?;
    loop {
        let next = client.request("GET", &format!("{RUNTIME}/invocation/next"), &[], &[])?;
        let id = next.header("Lambda-Runtime-Aws-Request-Id").unwrap_or_default().to_string();
        let work: Work = serde_json::from_slice(&next.body)?;
        let path = format!("{RUNTIME}/invocation/{id}");
        if work.behavior == Behavior::Error {
            say(&work, &id)?;
            let kind = [("Lambda-Runtime-Function-Error-Type", "Function.Handled")];
            let body = br#"{"errorMessage":"asked for","errorType":"Handled","stackTrace":[]}"#;
            client.request("POST", &format!("{path}/error"), &kind, body)?;
        } else {
            perform(&work, &id)?;
            client.request("POST", &format!("{path}/response"), &[], br#"{"status":"ok"}"#)?;
        }
    }
}

/// Does the work. It returns only if an answer follows.
fn perform(work: &Work, id: &str) -> io::Result<()> {
    say(work, id)?;
    thread::sleep(Duration::from_millis(work.pause_ms));
    match work.behavior {
        Behavior::Succeed | Behavior::Error => {}
        Behavior::Grow => {
            let _workers = if work.together {
                start_gated(work.workers.saturating_sub(1))?
            } else {
                start_workers(work.workers.saturating_sub(1))
            };
            grow(if work.workers > 1 { WORKER_CHUNK } else { CHUNK });
        }
        Behavior::WorkerExit => {
            wait_for_kill(&mut start_workers(work.workers.max(1)));
            std::process::exit(137);
        }
        Behavior::WorkerSurvives => wait_for_kill(&mut start_workers(work.workers.max(1))),
        Behavior::NearLimit => touch(work.mb),
        Behavior::Crash => std::process::exit(work.code),
        Behavior::Abort => std::process::abort(),
        Behavior::Timeout => loop {
            thread::sleep(Duration::from_secs(3600));
        },
    }
    Ok(())
}

fn say(work: &Work, id: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for _ in 0..work.repeat.max(1) {
        for line in &work.lines {
            writeln!(out, "{}", line.replace("{id}", id))?;
        }
    }
    for text in &work.frames {
        if let Ok(fd) = std::env::var("_LAMBDA_TELEMETRY_LOG_FD") {
            let frame = frames::encode(now_us(), text.replace("{id}", id).as_bytes());
            OpenOptions::new()
                .write(true)
                .open(format!("/proc/self/fd/{fd}"))?
                .write_all(&frame)?;
        }
    }
    out.flush()
}

fn start_workers(count: u32) -> Vec<Child> {
    (0..count).filter_map(|_| start_worker(Stdio::null())).collect()
}

/// Starts workers that wait for the end of their input. It ends when the last has started.
fn start_gated(count: u32) -> io::Result<Vec<Child>> {
    let (input, _open) = io::pipe()?;
    let start = |_| start_worker(input.try_clone().ok()?.into());
    Ok((0..count).filter_map(start).collect())
}

/// `None`: it does not start, as memory may already be short.
fn start_worker(input: Stdio) -> Option<Child> {
    Command::new("/proc/self/exe").arg(super::WORKER).stdin(input).spawn().ok()
}

/// Waits until one worker has ended, then ends the others.
fn wait_for_kill(workers: &mut [Child]) {
    let ended = |worker: &mut Child| worker.try_wait().is_ok_and(|status| status.is_some());
    while !workers.iter_mut().any(ended) {
        thread::sleep(Duration::from_millis(1));
    }
    for worker in workers {
        let _ = worker.kill();
        let _ = worker.wait();
    }
}

/// Touches memory in steps of `chunk` bytes until the kernel kills.
pub(super) fn grow(chunk: usize) -> ! {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; chunk]);
        black_box(&held);
    }
}

fn touch(mb: usize) {
    let held = vec![1_u8; mb << 20];
    black_box(&held);
}

fn now_us() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

const RUNTIME: &str = "/2018-06-01/runtime";

/// One process alone reaches any limit in a few hundred steps.
const CHUNK: usize = 1 << 20;

/// Many processes reach it together. Small steps keep them at the same size.
const WORKER_CHUNK: usize = 256 << 10;
