//! Lambda's local APIs by hand: the test reads each request and chooses each byte of the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox::ProcStatus;
use tempfile::TempDir;

use super::binary::binary;
use super::cost::{assert_frugal, port};
use super::sender::Sender;

/// The agent, and the server that it talks to.
pub(in crate::agent) struct Script {
    connections: Receiver<TcpStream>,
    connection: Option<TcpStream>,
    agent: Agent,
    /// The folder of its journal.
    folder: TempDir,
    idle: Option<ProcStatus>,
    is_measured: bool,
    pub(in crate::agent) port: u16,
    /// Where the agent wants its telemetry.
    pub(in crate::agent) path: String,
}

/// A request of the agent.
pub(in crate::agent) struct AgentRequest {
    /// `POST /2020-01-01/extension/register`
    pub(in crate::agent) line: String,
    pub(in crate::agent) body: String,
}

/// What the agent wrote.
pub(in crate::agent) struct AgentRecord {
    pub(in crate::agent) stderr: String,
}

pub(in crate::agent) const INVOKE: &str = r#"{"eventType":"INVOKE","deadlineMs":4102444800000,
    "requestId":"3da1f2dc-3222-475e-9205-e2e6c6318895","invokedFunctionArn":"arn:aws:lambda:x"}"#;

impl Script {
    /// Starts the agent. None of its requests has been answered yet.
    pub(in crate::agent) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(binary()), Stdio::piped(), variables)
    }

    /// The same, with a command that becomes the agent and another standard output.
    pub(in crate::agent) fn start_by(
        mut command: Command,
        stdout: Stdio,
        variables: &[(&str, &str)],
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = port();
        let folder = tempfile::tempdir().expect("a folder");
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().expect("an address").to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "192")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("OOM_WITNESS_PORT", port.to_string())
            .env("OOM_WITNESS_STATE", folder.path().join("journal"))
            .env("OOM_WITNESS_VMSTAT", "off")
            .env("OOM_WITNESS_CGROUP", "off")
            .envs(variables.iter().copied());
        Self {
            connections: accept(listener),
            connection: None,
            agent: Agent::spawn(command, stdout),
            folder,
            idle: None,
            is_measured: true,
            port,
            path: "/".to_owned(),
        }
    }

    /// The same, registered, subscribed and waiting for its first event.
    pub(in crate::agent) fn ready(variables: &[(&str, &str)]) -> Self {
        Self::start(variables).prepared()
    }

    /// The same. A shell first runs `commands`, and then becomes the agent.
    pub(in crate::agent) fn ready_after(
        commands: &str,
        stdout: Stdio,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("{commands} exec \"$0\"")).arg(binary());
        Self::start_by(shell, stdout, variables).prepared()
    }

    /// The same once it has been started.
    pub(in crate::agent) fn prepared(mut self) -> Self {
        self.register();
        self.subscribe();
        self.next();
        self
    }

    /// The same for an agent inside another program, whose cost is not measured.
    pub(in crate::agent) fn prepared_unmeasured(mut self) -> Self {
        self.is_measured = false;
        self.prepared()
    }

    /// Lets the agent count two, take an INVOKE, and end by SHUTDOWN. It has written this many
    /// metrics.
    pub(in crate::agent) fn count_two(mut self, metrics: usize) -> AgentRecord {
        let body = &super::sandboxed_agent::bodies(super::sandboxed_agent::OOM)[0];
        assert_eq!(self.sender().post(body), 200);
        assert_eq!(self.sender().post(body.replace("\"A\"", "\"B\"")), 200);
        self.give(INVOKE);
        self.next();
        self.end(metrics)
    }

    /// Takes the registration.
    pub(in crate::agent) fn register(&mut self) -> AgentRequest {
        let asked = self.expect("POST /2020-01-01/extension/register");
        self.registered();
        asked
    }

    /// Answers a registration well.
    pub(in crate::agent) fn registered(&mut self) {
        let head = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: \
                    98c2a3cd-0cc6-4b8a-a4d5-0b3b5a0bb1d9";
        let body = r#"{"functionName":"function","functionVersion":"1","handler":"h"}"#;
        self.write(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Takes the subscription.
    pub(in crate::agent) fn subscribe(&mut self) -> AgentRequest {
        let asked = self.expect("PUT /2022-07-01/telemetry");
        let uri = asked.body.split_once("sandbox.localdomain:").map(|(_, rest)| rest);
        let uri = uri.and_then(|rest| rest.split('"').next()).expect("a destination");
        self.path = format!("/{}", uri.split_once('/').map_or("", |(_, path)| path));
        self.answer(200, "\"OK\"");
        asked
    }

    /// Waits until the agent asks for the next event, and leaves it waiting.
    pub(in crate::agent) fn next(&mut self) {
        self.expect("GET /2020-01-01/extension/event/next");
        if !self.is_measured {
            return;
        }
        let now = self.agent.status();
        let idle = *self.idle.get_or_insert(now);
        assert_frugal(idle, now);
    }

    /// Waits for a request, which has to be this one.
    pub(in crate::agent) fn expect(&mut self, line: &str) -> AgentRequest {
        let asked = self.request();
        assert_eq!(asked.line, line);
        asked
    }

    /// The next request, over the connection that there is or over a new one.
    fn request(&mut self) -> AgentRequest {
        loop {
            let mut stream = match self.connection.take() {
                Some(stream) => stream,
                None => self.connections.recv_timeout(PATIENCE).expect("the agent connects"),
            };
            if let Some(asked) = read_request(&mut stream) {
                self.connection = Some(stream);
                return asked;
            }
        }
    }

    /// Answers in the usual way.
    pub(in crate::agent) fn answer(&mut self, status: u16, body: &str) {
        let length = body.len();
        self.write(&format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}"));
    }

    /// Writes any answer.
    pub(in crate::agent) fn write(&mut self, bytes: &str) {
        let stream = self.connection.as_mut().expect("a connection");
        stream.write_all(bytes.as_bytes()).expect("a write");
    }

    /// Writes a byte again and again, until the agent closes the connection.
    pub(in crate::agent) fn trickle(&mut self, byte: u8) {
        let mut stream = self.connection.take().expect("a connection");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("an option");
        let begin = Instant::now();
        while stream.write_all(&[byte]).is_ok() && !is_closed(&mut stream) {
            assert!(begin.elapsed() < PATIENCE, "the agent reads for ever");
        }
    }

    /// Waits this long. The agent writes nothing and does not close its connection.
    pub(in crate::agent) fn silent(&mut self, time: Duration) {
        let stream = self.connection.as_mut().expect("a connection");
        stream.set_read_timeout(Some(time)).expect("an option");
        assert!(!is_closed(stream), "the agent gives up");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        assert!(self.connections.try_recv().is_err(), "the agent asks again");
    }

    /// Closes the connection.
    pub(in crate::agent) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// The agent's process, if it was started directly.
    pub(in crate::agent) fn pid(&self) -> u32 {
        self.agent.child.id()
    }

    /// The agent's children.
    pub(in crate::agent) fn child_pids(&self) -> Vec<u32> {
        let pid = self.pid();
        let pids = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let pids = pids.expect("the agent lives");
        pids.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    /// Their command lines.
    pub(in crate::agent) fn children(&self) -> Vec<String> {
        let arguments = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
        self.child_pids().into_iter().filter_map(arguments).collect()
    }

    /// Where the agent keeps what survives it.
    pub(in crate::agent) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// A connection to the telemetry listener.
    pub(in crate::agent) fn sender(&self) -> Sender {
        Sender::connect(self.port, &self.path)
    }

    /// Gives an event to the agent, which waits for one.
    pub(in crate::agent) fn give(&mut self, event: &str) {
        self.answer(200, event);
    }

    /// Ends the waiting agent by SHUTDOWN, two seconds before its deadline.
    pub(in crate::agent) fn end(mut self, metrics: usize) -> AgentRecord {
        self.give(&shutdown("spindown", 2000));
        self.ended(0, metrics)
    }

    /// Ends the waiting agent by SHUTDOWN. Kills it at the deadline, as Lambda does.
    pub(in crate::agent) fn shut_down(
        mut self,
        reason: &str,
        left_ms: u64,
        metrics: usize,
    ) -> AgentRecord {
        self.give(&shutdown(reason, left_ms.into()));
        let (stdout, stderr) = self.agent.left_within(Duration::from_millis(left_ms), 0);
        assert_metrics(&stdout, metrics);
        AgentRecord { stderr }
    }

    /// Waits until the agent has ended in this way.
    pub(in crate::agent) fn ended(self, code: i32, metrics: usize) -> AgentRecord {
        self.agent.ended(code, metrics)
    }
}

/// True if the connection ends before the read times out. The agent sends nothing more over it.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => {
            assert_eq!(count, 0, "the agent asks again");
            true
        }
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// A SHUTDOWN event with this much time until its deadline.
pub(in crate::agent) fn shutdown(reason: &str, left_ms: u128) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis();
    let deadline_ms = now_ms + left_ms;
    format!(r#"{{"eventType":"SHUTDOWN","shutdownReason":"{reason}","deadlineMs":{deadline_ms}}}"#)
}

/// `None`: the connection ended.
pub(in crate::agent) fn read_request(stream: &mut TcpStream) -> Option<AgentRequest> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(asked) = parse(&request) {
            return Some(asked);
        }
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(count) => request.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("the agent asks nothing more: {error}"),
        }
    }
}

fn parse(request: &[u8]) -> Option<AgentRequest> {
    let text = String::from_utf8_lossy(request);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let line = head.lines().next()?.strip_suffix(" HTTP/1.1").expect("a request").to_owned();
    (body.len() >= length).then(|| AgentRequest { line, body: body.to_owned() })
}

/// The agent's process. It is killed if the test ends before it.
pub(in crate::agent) struct Agent {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Agent {
    /// Starts it with nothing on stdin.
    pub(in crate::agent) fn spawn(mut command: Command, stdout: Stdio) -> Self {
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().expect("the agent");
        let stdout = collect::<ChildStdout>(child.stdout.take());
        let stderr = collect::<ChildStderr>(child.stderr.take());
        Self { child, stdout, stderr }
    }

    fn status(&self) -> ProcStatus {
        ProcStatus::read(self.child.id()).expect("the agent lives")
    }

    /// Waits until it has ended with this code. Returns its stdout and stderr.
    pub(in crate::agent) fn left(self, code: i32) -> (String, String) {
        self.left_within(PATIENCE, code)
    }

    /// The same, and it ends in time.
    fn left_within(mut self, time: Duration, code: i32) -> (String, String) {
        // Its outputs end with it.
        let stdout = self.stdout.recv_timeout(time).expect("the agent ends");
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("its children end");
        let status: ExitStatus = self.child.wait().expect("an exit status");
        assert_eq!(status.code(), Some(code), "{status}: {stderr}");
        (stdout, stderr)
    }

    /// The same. It has written this many metrics.
    pub(in crate::agent) fn ended(self, code: i32, metrics: usize) -> AgentRecord {
        let (stdout, stderr) = self.left(code);
        assert_metrics(&stdout, metrics);
        AgentRecord { stderr }
    }
}

/// This many metrics, and no other line.
fn assert_metrics(stdout: &str, metrics: usize) {
    let counted = stdout.matches(r#""aws.lambda.enhanced.out_of_memory":1}"#).count();
    assert_eq!(counted, metrics, "{stdout}");
    assert_eq!(stdout.lines().count(), metrics, "{stdout}");
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Also its tracer and its children.
            let group = self.child.id().to_string();
            let _ = Command::new("/bin/sh").args(["-c", "kill -9 -$0", &group]).status();
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl AgentRecord {
    /// Holds the agent to one line on stderr with this text.
    pub(in crate::agent) fn once(&self, text: &str) -> &Self {
        let count = self.stderr.lines().filter(|line| line.contains(text)).count();
        assert_eq!(count, 1, "{text}: {}", self.stderr);
        self
    }

    /// Its last line.
    pub(in crate::agent) fn last(&self) -> &str {
        let is_last = |line: &&str| line.contains("oom-witness: ends: ");
        self.stderr.lines().find(is_last).unwrap_or_else(|| panic!("{}", self.stderr))
    }

    /// Holds the agent to this many warnings and errors.
    pub(in crate::agent) fn warnings(&self, expected: usize) -> &Self {
        let is_loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        assert_eq!(self.stderr.lines().filter(is_loud).count(), expected, "{}", self.stderr);
        self
    }
}

/// So that a test can wait for a connection with a timeout. The thread ends with the program.
fn accept(listener: TcpListener) -> Receiver<TcpStream> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            stream.set_read_timeout(Some(PATIENCE)).expect("an option");
            if sender.send(stream).is_err() {
                break;
            }
        }
    });
    receiver
}

fn collect<R: Read + Send + 'static>(stream: Option<R>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// An agent that hangs must fail the test, not hang it.
const PATIENCE: Duration = Duration::from_secs(60);
