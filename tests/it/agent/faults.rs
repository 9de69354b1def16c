//! Every system call fails once. The agent lives, no function fails, and nothing counts twice.
//!
//! This is sqlite's method. The first call of a name fails in the first run, the second in the
//! next, until a run has no call left to fail. It is done for each name, and for each error of a
//! kernel that lacks something. Calls before `main` belong to libc and the loader, and are left
//! alone. `cargo test` takes a sample. `OOM_WITNESS_FAULTS=all` makes every run.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::panic;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sandbox::Intake;

use super::support::binary::binary;
use super::support::cost::port;
use super::support::tolerant_lambda::Lambda;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::Agent;
use super::support::sender::head;
use super::support::strace::{self, Strace, before_and_after_main, calls};

/// The errors of a kernel that lacks something, or is interrupted.
pub(super) const ERRORS: [&str; 8] =
    ["ENOMEM", "ENOBUFS", "EMFILE", "EINTR", "EAGAIN", "ENOSPC", "EPIPE", "ECONNRESET"];

/// Calls that the kernel never refuses: they end the process.
pub(super) const SURE: [&str; 2] = ["exit_group", "exit"];

/// Runs at once. They mostly wait.
pub(super) const WORKERS: usize = 4;

/// `cargo test` makes one of this many runs. It is no multiple of the number of errors.
const SAMPLE: usize = 11;

/// One call of this name fails, and none before it.
#[derive(Clone, Debug)]
struct Fault {
    name: String,
    error: &'static str,
    /// Calls before `main`.
    before: usize,
}

/// What two processes of the agent, one after another, wrote and sent.
struct FaultRecord {
    metrics: usize,
    points: f64,
    stderr: String,
}

/// Where detections go.
#[derive(Clone, Copy, Debug)]
enum To {
    Stdout,
    Network,
}

/// Runs two processes of the agent; `command` starts the first. Each gets an invocation that runs
/// out of memory, an INVOKE and SHUTDOWN. Both get the same telemetry.
fn live(command: Command, to: To, intake: &Intake, port: u16) -> FaultRecord {
    let folder = tempfile::tempdir().expect("a folder");
    let points = intake.points();
    let mut told = FaultRecord { metrics: 0, points: 0.0, stderr: String::new() };
    for command in [command, Command::new(binary())] {
        let (stdout, stderr) = live_once(command, to, intake, folder.path(), port);
        told.metrics += stdout.lines().count();
        told.stderr += &stderr;
    }
    told.points = intake.points() - points;
    told
}

fn live_once(
    mut command: Command,
    to: To,
    intake: &Intake,
    folder: &Path,
    port: u16,
) -> (String, String) {
    let lambda = Lambda::start();
    let vmstat = folder.join("vmstat");
    std::fs::write(&vmstat, "oom_kill 0\n").expect("a file");
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("AWS_LAMBDA_RUNTIME_API", lambda.address.to_string())
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("OOM_WITNESS_PORT", port.to_string())
        .env("OOM_WITNESS_STATE", folder.join("journal"))
        .env("OOM_WITNESS_VMSTAT", vmstat)
        .env("OOM_WITNESS_CGROUP", "off");
    if matches!(to, To::Network) {
        command.env("DD_API_KEY", "the-key").env("DD_URL", intake.http_url());
    }
    let agent = Agent::spawn(command, Stdio::piped());
    let port = lambda.ready();
    for body in bodies(&OOM.replace('\n', "\n--\n")).iter().filter(|body| *body != "[]") {
        post(port, body);
    }
    lambda.invoke();
    lambda.shut_down();
    agent.left(0)
}

/// Posts as Lambda does, again and again until the agent answers 200.
pub(super) fn post(port: u16, body: &str) {
    let post = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(format!("{}{body}", head("/", body.len())).as_bytes())?;
        let mut answer = [0; 15];
        stream.read_exact(&mut answer)?;
        if answer == *b"HTTP/1.1 200 OK" { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    };
    let taken: std::io::Result<()> =
        (0..10).map(|_| post()).find(Result::is_ok).unwrap_or_else(post);
    taken.expect("the agent takes telemetry");
}

/// The OOM counted once, on stdout or at the intake, or was logged as unknown.
fn assert_once(to: To, told: &FaultRecord, what: &str) {
    let FaultRecord { metrics, points, stderr } = told;
    let counted = match to {
        To::Stdout => *metrics,
        To::Network if (*points - 1.0).abs() < f64::EPSILON => 1,
        To::Network if points.abs() < f64::EPSILON => 0,
        To::Network => panic!("{what}: {points} points\n{stderr}"),
    };
    let unknown = stderr.lines().filter(|line| line.contains("unknown: 1")).count();
    assert!(counted == 1 || counted == 0 && unknown == 1, "{what}: counted {counted}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{what}\n{stderr}");
}

/// All faults in the runs that `live` makes.
fn faults(to: To) -> Vec<Fault> {
    let strace = Strace::new(&[]);
    let intake = Intake::start().expect("an intake");
    let told = live(strace.command(), to, &intake, port());
    assert_once(to, &told, "without a fault");
    let counts = before_and_after_main(&calls(&strace.text()));
    let names =
        counts.iter().filter(|(name, (_, after))| !SURE.contains(&name.as_str()) && *after > 0);
    let faults = |(name, (before, _)): (&String, &(usize, usize))| {
        let (name, before) = (name.clone(), *before);
        ERRORS.map(|error| Fault { name: name.clone(), error, before })
    };
    names.flat_map(faults).collect()
}

/// Makes the first, the second, the n-th call fail, until none is left.
fn every_fault(to: To) {
    if !strace::available() {
        return;
    }
    let faults = Mutex::new(faults(to).into_iter().enumerate());
    let (runs, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let (intake, port) = (Intake::start().expect("an intake"), port());
        loop {
            let next = faults.lock().expect("no panic").next();
            let Some((index, fault)) = next else { break };
            for number in numbers(index) {
                match panic::catch_unwind(|| fault.happens(number, to, &intake, port)) {
                    Ok(false) => break,
                    Ok(true) => {}
                    Err(_) => failures.lock().expect("no panic").push((fault.clone(), number)),
                }
                runs.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no panic");
    println!("{to:?}: {runs:?} runs, each with a system call that failed");
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(runs.into_inner() > 0);
}

/// Which calls of a name fail: all, or a sample.
fn numbers(index: usize) -> Range<usize> {
    if env::var_os("OOM_WITNESS_FAULTS").is_some() {
        return 0..usize::MAX;
    }
    let is_taken = index.is_multiple_of(SAMPLE);
    let number = index / SAMPLE % 3;
    number..number + usize::from(is_taken)
}

impl Fault {
    /// True if the call was made, and failed.
    fn happens(&self, number: usize, to: To, intake: &Intake, port: u16) -> bool {
        let Self { name, error, before } = self;
        let what = format!("{to:?}: {name} number {number} fails with {error}");
        // The kernel's brk returns no error. It returns the end of the heap.
        let answer = if name == "brk" { "retval=0".into() } else { format!("error={error}") };
        let strace = Strace::injecting(name, &answer, before + number);
        let told = live(strace.command(), to, intake, port);
        assert_once(to, &told, &what);
        strace.has_injected()
    }
}

#[test]
fn every_system_call_fails_once_with_emf() {
    every_fault(To::Stdout);
}

#[test]
fn every_system_call_fails_once_with_a_network_sink() {
    every_fault(To::Network);
}
