//! Lambda's local APIs for an agent whose system calls fail, or that is killed. They answer well
//! whatever breaks: connections may come and go, and the latest request gets the event.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::requests::AgentRequest;
use super::script::{INVOKE, shutdown};
use super::wait::PATIENCE;

pub(in crate::agent) struct TolerantLambda {
    address: SocketAddr,
    apis: Arc<ApiServer>,
    server: Option<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Default)]
struct ApiServer {
    state: Mutex<ApiServerState>,
    changed: Condvar,
}

#[derive(Default)]
struct ApiServerState {
    /// How often the agent has asked for the next event.
    next_requests: u64,
    /// How many of these requests are not answered.
    waiting: u64,
    event: Option<String>,
    /// From now on each request gets SHUTDOWN.
    is_over: bool,
    is_gone: bool,
    telemetry_port: Option<u16>,
}

impl TolerantLambda {
    pub(in crate::agent) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let apis = Arc::<ApiServer>::default();
        let server = thread::spawn({
            let apis = Arc::clone(&apis);
            move || {
                for stream in listener.incoming() {
                    if apis.lock().is_gone {
                        break;
                    }
                    let apis = Arc::clone(&apis);
                    let stream = stream.expect("a connection");
                    thread::spawn(move || apis.serve(stream));
                }
            }
        });
        Self { address, apis, server: Some(server) }
    }

    /// Gives the environment of a function to a command that becomes the agent. The agent's files
    /// are in `folder`, which has a `vmstat`.
    pub(in crate::agent) fn set_environment(
        &self,
        command: &mut Command,
        initialization_type: &str,
        port: u16,
        folder: &Path,
    ) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_LAMBDA_RUNTIME_API", self.address.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", initialization_type)
            .env("OOM_WITNESS_PORT", port.to_string())
            .env("OOM_WITNESS_STATE", folder.join("journal"))
            .env("OOM_WITNESS_VMSTAT", folder.join("vmstat"))
            .env("OOM_WITNESS_CGROUP", "off");
    }

    /// Waits until the agent asks for its first event. Returns the port of its subscription.
    pub(in crate::agent) fn wait_for_ready(&self) -> u16 {
        self.apis.wait("the agent registers", |state| {
            state.telemetry_port.filter(|_| state.next_requests > 0)
        })
    }

    /// True once the agent has subscribed and asked for its first event.
    pub(in crate::agent) fn is_ready(&self) -> bool {
        let state = self.apis.lock();
        state.telemetry_port.is_some() && state.next_requests > 0
    }

    /// Answers the next request with an INVOKE.
    pub(in crate::agent) fn offer_invoke(&self) {
        self.apis.lock().event = Some(INVOKE.into());
        self.apis.changed.notify_all();
    }

    /// True once the agent has taken it and has asked for the next event.
    pub(in crate::agent) fn has_taken_invoke(&self) -> bool {
        let state = self.apis.lock();
        state.event.is_none() && state.waiting > 0
    }

    /// Sends INVOKE and waits until the agent asks for the next event.
    pub(in crate::agent) fn invoke(&self) {
        let before = {
            let mut state = self.apis.lock();
            state.event = Some(INVOKE.into());
            state.next_requests
        };
        self.apis.changed.notify_all();
        self.apis
            .wait("the agent asks again", |state| (state.next_requests > before).then_some(()));
    }

    /// Sends SHUTDOWN, two seconds before its deadline.
    pub(in crate::agent) fn shut_down(&self) {
        self.apis.lock().is_over = true;
        self.apis.changed.notify_all();
    }
}

impl Drop for TolerantLambda {
    fn drop(&mut self) {
        self.apis.lock().is_gone = true;
        self.apis.changed.notify_all();
        // Wakes the server.
        let _ = TcpStream::connect(self.address);
        let _ = self.server.take().map(JoinHandle::join);
    }
}

impl ApiServer {
    fn lock(&self) -> MutexGuard<'_, ApiServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&ApiServerState) -> Option<T>) -> T {
        let mut state = self.lock();
        loop {
            if let Some(value) = look(&state) {
                return value;
            }
            let (next, timeout) =
                self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            assert!(!timeout.timed_out(), "{what}");
            state = next;
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        while let Some(request) = AgentRequest::read(&mut stream) {
            let answer = match request.line.as_str() {
                "POST /2020-01-01/extension/register" => {
                    let body = r#"{"functionName":"function","functionVersion":"1","handler":"h"}"#;
                    format!("Lambda-Extension-Identifier: i\r\n{}", framed(body))
                }
                "PUT /2022-07-01/telemetry" => {
                    self.lock().telemetry_port = Some(request.destination().0);
                    framed("\"OK\"")
                }
                "GET /2020-01-01/extension/event/next" => match self.next() {
                    Some(event) => framed(&event),
                    None => return,
                },
                other => panic!("{other}"),
            };
            if stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Waits for the next event for this request. None if a later request comes.
    fn next(&self) -> Option<String> {
        let mut state = self.lock();
        state.next_requests += 1;
        state.waiting += 1;
        let ticket = state.next_requests;
        self.changed.notify_all();
        let event = loop {
            if state.is_gone || state.next_requests > ticket {
                break None;
            }
            if let Some(event) = state.event.take() {
                break Some(event);
            }
            if state.is_over {
                break Some(shutdown("failure", 2000));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.waiting -= 1;
        event
    }
}

fn framed(body: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{body}", body.len())
}
