//! Lambda's local APIs by hand: the test reads each request and chooses each byte of the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox::{Intake, ProcStatus};
use tempfile::TempDir;

use super::agent_process::{AgentOutput, AgentProcess};
use super::binary::binary;
use super::bodies::{oom_body, oom_body_of};
use super::cost::assert_cost;
use super::ports::free_port;
use super::requests::AgentRequest;
use super::sender::TelemetrySender;
use super::wait::{PATIENCE, wait_until};

/// The agent, and the server that it talks to.
pub(in crate::agent) struct Script {
    connections: Receiver<TcpStream>,
    connection: Option<TcpStream>,
    agent: AgentProcess,
    /// The folder of its journal.
    folder: TempDir,
    idle: Option<ProcStatus>,
    is_measured: bool,
    /// The port of its subscription. Before that, the port of its variable.
    pub(in crate::agent) port: u16,
    /// The path of its subscription.
    pub(in crate::agent) path: String,
}

pub(in crate::agent) const INVOKE: &str = r#"{"eventType":"INVOKE","deadlineMs":4102444800000,
    "requestId":"3da1f2dc-3222-475e-9205-e2e6c6318895","invokedFunctionArn":"arn:aws:lambda:x"}"#;

/// Starting the agent.
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
        let port = free_port();
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
            agent: AgentProcess::start(command, stdout),
            folder,
            idle: None,
            is_measured: true,
            port,
            path: "/".to_owned(),
        }
    }

    /// Starts the agent, which has registered and subscribed and waits for its first event.
    pub(in crate::agent) fn start_ready(variables: &[(&str, &str)]) -> Self {
        Self::start(variables).make_ready()
    }

    /// The same. A shell first runs `commands`, and then becomes the agent.
    pub(in crate::agent) fn start_ready_after(
        commands: &str,
        stdout: Stdio,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("{commands} exec \"$0\"")).arg(binary());
        Self::start_by(shell, stdout, variables).make_ready()
    }

    /// The same. The agent has given a detection to a child, whose request has reached `intake`.
    /// Whatever waits for the intake's answer is in the middle of a send.
    pub(in crate::agent) fn start_in_a_send(intake: &Intake, variables: &[(&str, &str)]) -> Self {
        let url = intake.http_url();
        let sink = [("DD_API_KEY", "the-key"), ("DD_URL", url.as_str())];
        let mut script = Self::start_ready(&[variables, &sink].concat());
        script.post(oom_body());
        script.send_event(INVOKE);
        wait_until("the request has arrived", || !intake.requests().is_empty());
        script
    }

    /// Answers the registration and the subscription. The agent then waits for its first event.
    pub(in crate::agent) fn make_ready(mut self) -> Self {
        self.accept_registration();
        self.accept_subscription();
        self.wait_for_next();
        self
    }

    /// The same for an agent inside another program, whose cost is not measured.
    pub(in crate::agent) fn make_ready_unmeasured(mut self) -> Self {
        self.is_measured = false;
        self.make_ready()
    }
}

/// The agent's requests, and the answers to them.
impl Script {
    /// Waits for the registration and answers it well.
    pub(in crate::agent) fn accept_registration(&mut self) -> AgentRequest {
        let request = self.expect_request("POST /2020-01-01/extension/register");
        self.answer_registration();
        request
    }

    /// Answers a registration well.
    pub(in crate::agent) fn answer_registration(&mut self) {
        let head = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: \
                    98c2a3cd-0cc6-4b8a-a4d5-0b3b5a0bb1d9";
        let body = r#"{"functionName":"function","functionVersion":"1","handler":"h"}"#;
        self.write(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Waits for the subscription and answers it well.
    pub(in crate::agent) fn accept_subscription(&mut self) -> AgentRequest {
        let request = self.expect_request("PUT /2022-07-01/telemetry");
        (self.port, self.path) = request.destination();
        self.answer(200, "\"OK\"");
        request
    }

    /// Waits until the agent asks for the next event, and leaves it waiting.
    pub(in crate::agent) fn wait_for_next(&mut self) {
        self.expect_request("GET /2020-01-01/extension/event/next");
        if !self.is_measured {
            return;
        }
        let now = self.agent.status();
        let idle = *self.idle.get_or_insert(now);
        assert_cost(idle, now);
    }

    /// Sends an event to the agent, which waits for one.
    pub(in crate::agent) fn send_event(&mut self, event: &str) {
        self.answer(200, event);
    }

    /// Sends INVOKE and waits until the agent asks for the next event.
    pub(in crate::agent) fn invoke(&mut self) {
        self.send_event(INVOKE);
        self.wait_for_next();
    }

    /// Waits for a request, which has to be this one.
    pub(in crate::agent) fn expect_request(&mut self, line: &str) -> AgentRequest {
        let request = self.wait_for_request();
        assert_eq!(request.line, line);
        request
    }

    /// The next request, over the connection that there is or over a new one.
    fn wait_for_request(&mut self) -> AgentRequest {
        loop {
            let mut stream = match self.connection.take() {
                Some(stream) => stream,
                None => self.connections.recv_timeout(PATIENCE).expect("the agent connects"),
            };
            if let Some(request) = AgentRequest::read(&mut stream) {
                self.connection = Some(stream);
                return request;
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

    /// Checks that for this time the agent writes nothing and does not close its connection.
    pub(in crate::agent) fn assert_silent(&mut self, time: Duration) {
        let stream = self.connection.as_mut().expect("a connection");
        stream.set_read_timeout(Some(time)).expect("an option");
        assert!(!is_closed(stream), "the agent gives up");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        assert!(self.connections.try_recv().is_err(), "the agent asks again");
    }

    /// Closes the connection.
    pub(in crate::agent) fn close(&mut self) {
        self.connection = None;
    }
}

/// Telemetry, and the agent's process.
impl Script {
    /// A connection to the telemetry listener.
    pub(in crate::agent) fn connect(&self) -> TelemetrySender {
        TelemetrySender::connect(self.port, &self.path)
    }

    /// Posts one telemetry request over a connection of its own. The agent takes it.
    pub(in crate::agent) fn post(&self, body: impl AsRef<[u8]>) {
        assert_eq!(self.connect().post(body), 200);
    }

    /// The agent's process, if it was started directly.
    pub(in crate::agent) fn pid(&self) -> u32 {
        self.agent.pid()
    }

    /// The agent's children.
    pub(in crate::agent) fn child_pids(&self) -> Vec<u32> {
        self.agent.child_pids()
    }

    /// Where the agent keeps what survives it.
    pub(in crate::agent) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Lets the agent count two, take an INVOKE, and end by SHUTDOWN. It has written this many
    /// metrics.
    pub(in crate::agent) fn count_two(mut self, metrics: usize) -> AgentOutput {
        self.post(oom_body());
        self.post(oom_body_of("B"));
        self.invoke();
        self.end(metrics)
    }

    /// Ends the waiting agent by SHUTDOWN, two seconds before its deadline. It has written this
    /// many metrics.
    pub(in crate::agent) fn end(mut self, metrics: usize) -> AgentOutput {
        self.send_event(&shutdown("spindown", 2000));
        self.wait_for_end(0, metrics)
    }

    /// Ends the waiting agent by SHUTDOWN. It ends before the deadline, at which Lambda would kill
    /// it.
    pub(in crate::agent) fn end_before_deadline(
        mut self,
        reason: &str,
        left_ms: u64,
        metrics: usize,
    ) -> AgentOutput {
        self.send_event(&shutdown(reason, left_ms.into()));
        self.agent.wait_for_end_within(Duration::from_millis(left_ms), 0, metrics)
    }

    /// Waits until the agent has ended with this code. It has written this many metrics.
    pub(in crate::agent) fn wait_for_end(self, code: i32, metrics: usize) -> AgentOutput {
        self.agent.wait_for_end(code, metrics)
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

/// Accepts connections, so that a test can wait for one with a timeout. The thread ends with the
/// program.
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
