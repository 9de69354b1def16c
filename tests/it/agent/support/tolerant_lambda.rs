//! Lambda's local APIs for an agent whose system calls fail. They answer well whatever breaks:
//! connections may come and go, and the latest request gets the event.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::script::{INVOKE, read_request, shutdown};

pub(in crate::agent) struct Lambda {
    pub(in crate::agent) address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<LambdaState>,
    changed: Condvar,
}

#[derive(Default)]
struct LambdaState {
    /// How often the agent asked for the next event.
    asked: u64,
    /// Requests for the next event that are not answered.
    waiting: u64,
    event: Option<String>,
    /// From now on each request gets SHUTDOWN.
    is_over: bool,
    is_gone: bool,
    telemetry_port: Option<u16>,
}

impl Lambda {
    pub(in crate::agent) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let server = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.lock().is_gone {
                        break;
                    }
                    let shared = Arc::clone(&shared);
                    let stream = stream.expect("a connection");
                    thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Self { address, shared, server: Some(server) }
    }

    /// Waits until the agent asks for its first event. Returns the port that it subscribed with.
    pub(in crate::agent) fn ready(&self) -> u16 {
        self.shared
            .wait("the agent registers", |state| state.telemetry_port.filter(|_| state.asked > 0))
    }

    /// True once the agent has subscribed and asked for its first event.
    pub(in crate::agent) fn is_ready(&self) -> bool {
        let state = self.shared.lock();
        state.telemetry_port.is_some() && state.asked > 0
    }

    /// Answers the next request with an INVOKE.
    pub(in crate::agent) fn offer_invoke(&self) {
        self.shared.lock().event = Some(INVOKE.into());
        self.shared.changed.notify_all();
    }

    /// True once it was taken, and the next event is asked for.
    pub(in crate::agent) fn has_taken_invoke(&self) -> bool {
        let state = self.shared.lock();
        state.event.is_none() && state.waiting > 0
    }

    /// Sends INVOKE and waits until the next event is asked for.
    pub(in crate::agent) fn invoke(&self) {
        let before = {
            let mut state = self.shared.lock();
            state.event = Some(INVOKE.into());
            state.asked
        };
        self.shared.changed.notify_all();
        self.shared.wait("the agent asks again", |state| (state.asked > before).then_some(()));
    }

    /// Sends SHUTDOWN, two seconds before its deadline.
    pub(in crate::agent) fn shut_down(&self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.shared.lock().is_gone = true;
        self.shared.changed.notify_all();
        // Wakes the server.
        let _ = TcpStream::connect(self.address);
        let _ = self.server.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LambdaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, what: &str, reached: impl Fn(&LambdaState) -> Option<T>) -> T {
        let mut state = self.lock();
        loop {
            if let Some(value) = reached(&state) {
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
        while let Some(asked) = read_request(&mut stream) {
            let answer = match asked.line.as_str() {
                "POST /2020-01-01/extension/register" => {
                    let body = r#"{"functionName":"function","functionVersion":"1","handler":"h"}"#;
                    format!("Lambda-Extension-Identifier: i\r\n{}", framed(body))
                }
                "PUT /2022-07-01/telemetry" => {
                    let port = asked.body.rsplit_once(':').map(|(_, rest)| rest);
                    let port = port.and_then(|rest| rest.split(['/', '"']).next()?.parse().ok());
                    self.lock().telemetry_port = Some(port.expect("a port"));
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

    /// The next event for this request; none if a later request comes.
    fn next(&self) -> Option<String> {
        let mut state = self.lock();
        state.asked += 1;
        state.waiting += 1;
        let ticket = state.asked;
        self.changed.notify_all();
        let event = loop {
            if state.is_gone || state.asked > ticket {
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

/// An agent that hangs must fail the test, not hang it.
const PATIENCE: Duration = Duration::from_secs(20);
