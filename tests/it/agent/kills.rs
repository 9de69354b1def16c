//! Kills the agent at each system call, and at random. Nothing counts twice, and nothing is lost
//! without a line that says so.
//!
//! Lambda posts a request again until the agent or the next process answers 200. So do these tests.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sandbox::Intake;

use super::faults::{SURE, WORKERS};
use super::support::binary::binary;
use super::support::cost::port;
use super::support::tolerant_lambda::Lambda;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::sender::head;
use super::support::strace::{self, Strace, before_and_after_main, calls};

/// Where detections go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum To {
    Stdout,
    Network,
}

/// Processes of the agent, one after another in one environment, and what they wrote and sent.
struct Environment {
    folder: tempfile::TempDir,
    intake: Option<Intake>,
    /// A pipe, as on Lambda. A line is written whole or not at all.
    stdout: PipeWriter,
    lines: JoinHandle<String>,
    port: u16,
    /// Telemetry requests that were answered.
    taken: usize,
}

impl Environment {
    fn new(to: To, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("vmstat"), "oom_kill 0\n").expect("a file");
        let intake = (to == To::Network).then(|| Intake::start().expect("an intake"));
        let (mut reader, stdout) = std::io::pipe().expect("a pipe");
        let lines = thread::spawn(move || {
            let mut lines = String::new();
            reader.read_to_string(&mut lines).expect("text");
            lines
        });
        Self { folder, intake, stdout, lines, port, taken: 0 }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Starts a process by `command`, which becomes the agent.
    fn start(&self, mut command: Command, lambda: &Lambda, kind: &str) -> Process {
        let path = |name: &str| self.folder.path().join(name);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_LAMBDA_RUNTIME_API", lambda.address.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
            .env("OOM_WITNESS_PORT", self.port.to_string())
            .env("OOM_WITNESS_STATE", path("journal"))
            .env("OOM_WITNESS_VMSTAT", path("vmstat"))
            .env("OOM_WITNESS_CGROUP", "off");
        if let Some(intake) = &self.intake {
            command.env("DD_API_KEY", "k").env("DD_URL", intake.http_url());
        }
        let stderr = fs::File::options().create(true).append(true).open(path("stderr"));
        let stdout = self.stdout.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr.expect("a file"));
        Process(command.spawn().expect("the agent"))
    }

    /// How many metrics the agents reported as perhaps lost.
    fn told(&self) -> usize {
        let stderr = self.stderr();
        let of_restart = stderr.lines().filter_map(|line| {
            let (_, rest) = line.split_once(" may have ")?;
            let (count, _) = rest.split_once(" metric")?;
            Some(if count == "a" { 1 } else { count.parse().ok()? })
        });
        // What the last process itself did not know.
        let last = stderr.lines().rfind(|line| line.contains("oom-witness: ends: "));
        let unknown = last.and_then(|line| line.split("unknown: ").nth(1)?.split(',').next());
        let unknown: usize = unknown.map_or(0, |count| count.parse().expect("a count"));
        of_restart.sum::<usize>().max(unknown)
    }

    /// Nothing has counted twice, and what has not counted was logged. All processes have ended.
    fn assert_exact(self, what: &str) {
        let (told, stderr) = (self.told(), self.stderr());
        let Self { taken, intake, stdout, lines, .. } = self;
        drop(stdout);
        let lines = lines.join().expect("what was written");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let counted = intake.map_or_else(|| count_lines(&lines), |intake| intake.points() as usize);
        println!("{what}: {taken} taken, {counted} counted, {told} told as unknown");
        assert!(counted <= taken, "{what}\n{stderr}");
        assert!(taken - counted <= told, "{what}\n{stderr}");
        assert!(!stderr.contains("panicked"), "{what}\n{stderr}");
    }
}

/// How many metrics there are. Each has an invocation of its own.
fn count_lines(lines: &str) -> usize {
    let mut ids = HashSet::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        assert_eq!(line["aws.lambda.enhanced.out_of_memory"], 1, "{line}");
        assert!(ids.insert(line["requestId"].to_string()), "counted twice: {line}");
    }
    ids.len()
}

/// A process of the agent, or a tracer that runs it. It ends with the test.
struct Process(Child);

impl Process {
    fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends one request over a kept connection. True if the answer is 200.
fn post(connection: &mut Option<TcpStream>, port: u16, body: &str) -> bool {
    let mut try_post = || -> std::io::Result<()> {
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?),
        };
        stream.write_all(format!("{}{body}", head("/", body.len())).as_bytes())?;
        let mut answer = [0; 38];
        stream.read_exact(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200 OK") { Ok(()) } else { Err(ErrorKind::Other.into()) }
    };
    let is_taken = try_post().is_ok();
    if !is_taken {
        *connection = None;
    }
    is_taken
}

/// Waits until the agent is ready for telemetry; false if it died before.
fn is_ready(process: &mut Process, lambda: &Lambda) -> bool {
    while process.is_alive() {
        if lambda.is_ready() {
            return true;
        }
        thread::yield_now();
    }
    false
}

/// An invocation runs out of memory, in three requests. An INVOKE gives the turn to send. SHUTDOWN
/// follows. The first process is killed on the way, and the second goes on.
fn live(killed: Command, to: To, port: u16) -> Environment {
    let mut environment = Environment::new(to, port);
    let requests = bodies(&OOM.replace('\n', "\n--\n"));
    let requests: Vec<&String> = requests.iter().filter(|body| *body != "[]").collect();
    let mut answered = 0;
    for command in [killed, Command::new(binary())] {
        let lambda = Lambda::start();
        let mut process = environment.start(command, &lambda, "on-demand");
        if !is_ready(&mut process, &lambda) {
            continue;
        }
        let port = lambda.ready();
        let mut connection = None;
        while let Some(body) = requests.get(answered) {
            if post(&mut connection, port, body) {
                answered += 1;
            } else if !process.is_alive() {
                break;
            }
        }
        lambda.offer_invoke();
        while process.is_alive() && !lambda.has_taken_invoke() {
            thread::yield_now();
        }
        lambda.shut_down();
        let _ = process.0.wait();
    }
    assert_eq!(answered, requests.len(), "the second process takes what the first did not");
    environment.taken = 1;
    environment
}

/// All system calls that an agent makes in such a run, from its `main` on. Each has its name, how
/// many came before `main`, and its number.
fn all_calls(to: To) -> Vec<(String, usize, usize)> {
    let strace = Strace::new(&[]);
    live(strace.command(), to, port()).assert_exact("without a kill");
    let counts = before_and_after_main(&calls(&strace.text()));
    let names = counts.into_iter().filter(|(name, _)| !SURE.contains(&name.as_str()));
    names
        .flat_map(|(name, (before, after))| {
            (0..after).map(move |number| (name.clone(), before, number))
        })
        .collect()
}

/// `cargo test` makes one of this many runs.
const SAMPLE: usize = 9;

fn killed_at_each_call(to: To) {
    if !strace::available() {
        return;
    }
    let step = if std::env::var_os("OOM_WITNESS_FAULTS").is_some() { 1 } else { SAMPLE };
    let calls: Vec<_> = all_calls(to).into_iter().step_by(step).collect();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let calls = calls.iter().skip(worker).step_by(WORKERS);
            scope.spawn(move || {
                let port = port();
                for (name, before, number) in calls {
                    let strace = Strace::injecting(name, "signal=KILL", before + number);
                    let environment = live(strace.command(), to, port);
                    environment.assert_exact(&format!("{to:?}: killed at {name} number {number}"));
                }
            });
        }
    });
    println!("{to:?}: {} runs, each killed at another system call", calls.len());
    assert!(calls.len() > 3);
}

#[test]
fn killed_at_each_system_call_it_counts_once_with_emf() {
    killed_at_each_call(To::Stdout);
}

#[test]
fn killed_at_each_system_call_it_counts_once_with_a_network_sink() {
    killed_at_each_call(To::Network);
}

/// OOMs come without a pause, each in a request of its own, while the agent is killed again and
/// again. The next process gets each request that was not answered.
fn killed_at_random(to: To, kills: usize) {
    let mut environment = Environment::new(to, port());
    // On Managed Instances, where a send waits for no turn.
    let kind = "lambda-managed-instances";
    let (mut number, mut random) = (0, fastrand::Rng::with_seed(7));
    let mut body = oom(number);
    for _ in 0..kills {
        let lambda = Lambda::start();
        let mut process = environment.start(Command::new(binary()), &lambda, kind);
        assert!(is_ready(&mut process, &lambda), "{}", environment.stderr());
        // It is another port if the usual one was still taken.
        let port = lambda.ready();
        let end = Instant::now() + Duration::from_micros(random.u64(..20_000));
        let pid = process.0.id().to_string();
        let killer = thread::spawn(move || {
            // The moment is random.
            thread::sleep(end.saturating_duration_since(Instant::now()));
            let kill = Command::new("/bin/sh").args(["-c", "kill -9 $0", &pid]).status();
            assert!(kill.expect("a shell").success());
        });
        let mut connection = None;
        loop {
            if post(&mut connection, port, &body) {
                number += 1;
                body = oom(number);
            } else if !process.is_alive() {
                break;
            }
        }
        killer.join().expect("a kill");
    }
    let lambda = Lambda::start();
    let mut process = environment.start(Command::new(binary()), &lambda, kind);
    assert!(is_ready(&mut process, &lambda), "{}", environment.stderr());
    let port = lambda.ready();
    while !post(&mut None, port, &body) {
        assert!(process.is_alive(), "{}", environment.stderr());
    }
    environment.taken = number + 1;
    lambda.shut_down();
    let status = process.0.wait().expect("an end");
    assert!(status.success(), "{status}: {}", environment.stderr());
    environment.assert_exact(&format!("{to:?}: {kills} kills"));
}

fn kills() -> usize {
    let count = std::env::var("OOM_WITNESS_KILLS").ok();
    count.map_or(25, |count| count.parse().expect("a number"))
}

/// An invocation of its own, which runs out of memory.
fn oom(number: usize) -> String {
    let at = number * 7;
    let scenario = format!(
        "{at} start r{number}
         {} done r{number} error Runtime.OutOfMemory
         {} report r{number} error 192/192 Runtime.OutOfMemory",
        at + 2,
        at + 3
    );
    bodies(&scenario).swap_remove(0)
}

#[test]
fn killed_at_random_it_counts_each_once_with_emf() {
    killed_at_random(To::Stdout, kills());
}

#[test]
fn killed_at_random_it_counts_each_once_with_a_network_sink() {
    killed_at_random(To::Network, kills());
}
