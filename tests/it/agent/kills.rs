//! Kills the agent at each system call, and at random. Nothing counts twice, and nothing is lost
//! without a line that says so. How a child is killed is in `child/faults.rs`.
//!
//! Lambda posts a request again until the agent or the next process answers 200. So do these tests.

use std::collections::HashSet;
use std::fs;
use std::io::{PipeWriter, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::support::binary::binary;
use super::support::bodies::{bodies, numbered_oom, oom_in_three_bodies};
use super::support::destination::{Destination, TestedSink};
use super::support::failing_calls::{NEVER_REFUSED, WORKERS, is_all_asked_for};
use super::support::ports::free_port;
use super::support::sender::try_post;
use super::support::signals::send_signal;
use super::support::strace::{self, Strace, before_and_after_main, calls};
use super::support::tolerant_lambda::TolerantLambda;
use super::support::wait::pause;

/// Processes of the agent, one after another in one environment, and what they wrote and sent.
struct AgentSeries {
    /// Their journal, their `vmstat` and their stderr.
    folder: tempfile::TempDir,
    destination: Destination,
    /// A pipe, as on Lambda. A line is written whole or not at all.
    stdout: PipeWriter,
    lines: JoinHandle<String>,
    port: u16,
    /// Telemetry requests that were answered.
    taken: usize,
}

impl AgentSeries {
    fn new(sink: TestedSink, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("vmstat"), "oom_kill 0\n").expect("a file");
        let destination = Destination::start(sink);
        let (mut reader, stdout) = std::io::pipe().expect("a pipe");
        let lines = thread::spawn(move || {
            let mut lines = String::new();
            reader.read_to_string(&mut lines).expect("text");
            lines
        });
        Self { folder, destination, stdout, lines, port, taken: 0 }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Starts a process by `command`, which becomes the agent.
    fn start(
        &self,
        mut command: Command,
        lambda: &TolerantLambda,
        initialization_type: &str,
    ) -> ProcessGuard {
        let folder = self.folder.path();
        lambda.set_environment(&mut command, initialization_type, self.port, folder);
        command.envs(self.destination.variables());
        let stderr = fs::File::options().create(true).append(true).open(folder.join("stderr"));
        let stdout = self.stdout.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr.expect("a file"));
        ProcessGuard(command.spawn().expect("the agent"))
    }

    /// How many metrics the processes reported as perhaps lost.
    fn reported_unknown(&self) -> usize {
        let stderr = self.stderr();
        let at_restarts = stderr.lines().filter_map(|line| {
            let (_, rest) = line.split_once(" may have ")?;
            let (count, _) = rest.split_once(" metric")?;
            Some(if count == "a" { 1 } else { count.parse().ok()? })
        });
        // The unknown sends of the last process itself.
        let last = stderr.lines().rfind(|line| line.contains("oom-witness: ends: "));
        let unknown = last.and_then(|line| line.split("unknown: ").nth(1)?.split(',').next());
        let unknown: usize = unknown.map_or(0, |count| count.parse().expect("a count"));
        at_restarts.sum::<usize>().max(unknown)
    }

    /// Checks that nothing has counted twice, and that what has not counted was logged. All
    /// processes have ended.
    fn assert_exact(self, what: &str) {
        let (unknown, stderr) = (self.reported_unknown(), self.stderr());
        let Self { taken, destination, stdout, lines, .. } = self;
        drop(stdout);
        let lines = lines.join().expect("what was written");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let counted =
            destination.count().map_or_else(|| count_lines(&lines), |count| count as usize);
        println!("{what}: {taken} taken, {counted} counted, {unknown} reported as unknown");
        assert!(counted <= taken, "{what}\n{stderr}");
        assert!(taken - counted <= unknown, "{what}\n{stderr}");
        assert!(!stderr.contains("panicked"), "{what}\n{stderr}");
    }
}

/// Counts the attempts. Lines are joined, without a request id, if the pipe was full for long.
fn count_lines(lines: &str) -> usize {
    let (mut ids, mut sum) = (HashSet::new(), 0);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        let count = line["aws.lambda.enhanced.out_of_memory"].as_u64().expect("a count");
        if let Some(id) = line.get("requestId") {
            assert!(count == 1 && ids.insert(id.to_string()), "counted twice: {line}");
        }
        sum += usize::try_from(count).expect("a small count");
    }
    sum
}

/// A process of the agent, or a tracer that runs it. It is killed if the test ends before it.
struct ProcessGuard(Child);

impl ProcessGuard {
    fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends one request over a kept connection. True if the answer is 200.
fn post(connection: &mut Option<TcpStream>, port: u16, body: &str) -> bool {
    let mut post_once = || {
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?),
        };
        try_post(stream, body)
    };
    let is_taken = post_once().is_ok();
    if !is_taken {
        *connection = None;
    }
    is_taken
}

/// Waits until the agent is ready for telemetry. False if it died before.
fn becomes_ready(process: &mut ProcessGuard, lambda: &TolerantLambda) -> bool {
    while process.is_alive() {
        if lambda.is_ready() {
            return true;
        }
        pause();
    }
    false
}

/// Runs two processes. An invocation runs out of memory, in three requests. An INVOKE lets the
/// agent send. SHUTDOWN follows. The first process is killed on the way, and the second goes on.
fn run_two(killed: Command, sink: TestedSink, port: u16) -> AgentSeries {
    let mut series = AgentSeries::new(sink, port);
    let requests = oom_in_three_bodies();
    let mut answered = 0;
    for command in [killed, Command::new(binary())] {
        let lambda = TolerantLambda::start();
        let mut process = series.start(command, &lambda, "on-demand");
        if !becomes_ready(&mut process, &lambda) {
            continue;
        }
        let port = lambda.wait_for_ready();
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
            pause();
        }
        lambda.shut_down();
        let _ = process.0.wait();
    }
    assert_eq!(answered, requests.len(), "a request that neither process has taken");
    series.taken = 1;
    series
}

/// All system calls that an agent makes in such a run, from its `main` on. Each has its name, how
/// many came before `main`, and its number.
fn all_calls(sink: TestedSink) -> Vec<(String, usize, usize)> {
    let strace = Strace::new(&[]);
    run_two(strace.command(), sink, free_port()).assert_exact("without a kill");
    let counts = before_and_after_main(&calls(&strace.text()));
    let names = counts.into_iter().filter(|(name, _)| !NEVER_REFUSED.contains(&name.as_str()));
    names
        .flat_map(|(name, (before, after))| {
            (0..after).map(move |number| (name.clone(), before, number))
        })
        .collect()
}

/// `cargo test` makes one of this many runs.
const SAMPLE: usize = 9;

fn check_killed_at_each_call(sink: TestedSink) {
    if !strace::available() {
        return;
    }
    let step = if is_all_asked_for() { 1 } else { SAMPLE };
    let calls: Vec<_> = all_calls(sink).into_iter().step_by(step).collect();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let calls = calls.iter().skip(worker).step_by(WORKERS);
            scope.spawn(move || {
                let port = free_port();
                for (name, before, number) in calls {
                    let strace = Strace::injecting(name, "signal=KILL", before + number);
                    let series = run_two(strace.command(), sink, port);
                    series.assert_exact(&format!("{sink:?}: killed at {name} number {number}"));
                }
            });
        }
    });
    println!("{sink:?}: {} runs, each killed at another system call", calls.len());
    assert!(calls.len() > 3);
}

#[test]
fn killed_at_any_system_call_the_agent_counts_once_with_emf() {
    check_killed_at_each_call(TestedSink::Emf);
}

#[test]
fn killed_at_any_system_call_the_agent_counts_once_with_a_network_sink() {
    check_killed_at_each_call(TestedSink::Network);
}

#[test]
fn killed_at_any_system_call_the_agent_counts_once_with_otlp() {
    check_killed_at_each_call(TestedSink::Otlp);
}

#[test]
fn killed_at_any_system_call_the_agent_counts_once_with_datagrams() {
    check_killed_at_each_call(TestedSink::Datagram);
}

/// OOMs come without a pause, each in a request of its own, while the agent is killed again and
/// again. The next process gets each request that was not answered.
fn check_killed_at_random(sink: TestedSink, kills: usize) {
    let mut series = AgentSeries::new(sink, free_port());
    // On Managed Instances, where a send waits for no turn.
    let initialization_type = "lambda-managed-instances";
    let (mut number, mut random) = (0, fastrand::Rng::with_seed(7));
    let mut body = body_of(number);
    for _ in 0..kills {
        let lambda = TolerantLambda::start();
        let mut process = series.start(Command::new(binary()), &lambda, initialization_type);
        assert!(becomes_ready(&mut process, &lambda), "{}", series.stderr());
        // It is another port if the usual one is still taken.
        let port = lambda.wait_for_ready();
        let end = Instant::now() + Duration::from_micros(random.u64(..20_000));
        let pid = process.0.id();
        let killer = thread::spawn(move || {
            // The moment is random.
            thread::sleep(end.saturating_duration_since(Instant::now()));
            send_signal("KILL", pid);
        });
        let mut connection = None;
        loop {
            if post(&mut connection, port, &body) {
                number += 1;
                body = body_of(number);
            } else if !process.is_alive() {
                break;
            }
        }
        killer.join().expect("a kill");
    }
    let lambda = TolerantLambda::start();
    let mut process = series.start(Command::new(binary()), &lambda, initialization_type);
    assert!(becomes_ready(&mut process, &lambda), "{}", series.stderr());
    let port = lambda.wait_for_ready();
    while !post(&mut None, port, &body) {
        assert!(process.is_alive(), "{}", series.stderr());
    }
    series.taken = number + 1;
    lambda.shut_down();
    let status = process.0.wait().expect("an end");
    assert!(status.success(), "{status}: {}", series.stderr());
    series.assert_exact(&format!("{sink:?}: {kills} kills"));
}

/// The telemetry of an invocation of its own, which runs out of memory.
fn body_of(number: usize) -> String {
    bodies(&numbered_oom(number, 7)).remove(0)
}

fn kills() -> usize {
    let count = std::env::var("OOM_WITNESS_KILLS").ok();
    count.map_or(25, |count| count.parse().expect("a number"))
}

#[test]
fn killed_at_random_the_agent_counts_each_once_with_emf() {
    check_killed_at_random(TestedSink::Emf, kills());
}

#[test]
fn killed_at_random_the_agent_counts_each_once_with_a_network_sink() {
    check_killed_at_random(TestedSink::Network, kills());
}

#[test]
fn killed_at_random_the_agent_counts_each_once_with_otlp() {
    check_killed_at_random(TestedSink::Otlp, kills());
}

#[test]
fn killed_at_random_the_agent_counts_each_once_with_datagrams() {
    check_killed_at_random(TestedSink::Datagram, kills());
}
