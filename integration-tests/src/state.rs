//! What the API handlers and the supervisor both see: which processes are registered, wait or have
//! ended.
//!
//! It is one value in a `watch` channel, so a change wakes everybody who waits for it. It holds
//! only facts. The supervisor decides what follows from them.

use std::collections::{HashMap, VecDeque};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::fault::ApiFault;
use crate::identity::Identity;
use crate::outcome::RuntimeAnswer;
use crate::recording::RecordingLine;
use crate::telemetry::Hub;

/// What the parts of one environment share.
pub(crate) struct Platform {
    pub(crate) state: watch::Sender<PlatformState>,
    pub(crate) hub: Hub,
    pub(crate) identity: Identity,
    /// The faults that are left.
    pub(crate) faults: Mutex<Vec<ApiFault>>,
}

/// The state of the present generation of processes.
#[derive(Debug, Default)]
pub(crate) struct PlatformState {
    pub(crate) generation: u64,
    pub(crate) registration_open: bool,
    /// External extensions, by file name, as they were started.
    pub(crate) processes: Vec<ExtensionProcess>,
    pub(crate) extensions: Vec<RegisteredExtension>,
    pub(crate) runtime: RuntimeState,
}

/// The process of an external extension.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionProcess {
    pub(crate) name: String,
    /// `None` until the sandbox knows it. The process may register before that.
    pub(crate) pid: Option<u32>,
    pub(crate) exit: Option<ExitStatus>,
    /// Just before it was started.
    pub(crate) started: Instant,
}

/// A registered extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegisteredExtension {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) events: Vec<&'static str>,
    /// The event that it has not fetched yet, for the recording and as its body.
    pub(crate) inbox: Option<(RecordingLine, String)>,
    pub(crate) waiting: bool,
    pub(crate) asked: bool,
    /// When it registered, and when it first asked for an event.
    pub(crate) registered: Option<Instant>,
    pub(crate) first_asked: Option<Instant>,
    /// What it reported with init/error or exit/error.
    pub(crate) error: Option<String>,
}

/// The runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuntimeState {
    pub(crate) pid: Option<u32>,
    pub(crate) exit: Option<ExitStatus>,
    /// Invocations that nobody has fetched yet.
    pub(crate) inbox: VecDeque<Invocation>,
    /// Invocations that were fetched but not answered: several on Managed Instances.
    pub(crate) open: Vec<String>,
    /// The answers to the others, by request id.
    pub(crate) answers: HashMap<String, (RuntimeAnswer, Instant)>,
    /// It reported that its init, or with SnapStart the hooks of its restore, failed.
    pub(crate) failed: bool,
    /// SnapStart: it waits for the restore, or it was restored.
    pub(crate) at_snapshot: bool,
    pub(crate) restored: bool,
    /// How many requests for an invocation wait.
    pub(crate) waiting: u32,
    pub(crate) asked: bool,
}

/// An invocation for the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    pub(crate) deadline_ms: i64,
    pub(crate) trace: String,
    pub(crate) payload: String,
}

impl PlatformState {
    pub(crate) fn registered(&mut self, id: &str) -> Option<&mut RegisteredExtension> {
        self.extensions.iter_mut().find(|extension| extension.id == id)
    }

    /// Puts an event into the inbox of each extension that registered for it.
    pub(crate) fn send(&mut self, event: &RecordingLine, body: &str) {
        let kind = if matches!(event, RecordingLine::Invoke(_)) { "INVOKE" } else { "SHUTDOWN" };
        for extension in self.extensions.iter_mut().filter(|known| known.events.contains(&kind)) {
            extension.inbox = Some((event.clone(), body.to_string()));
        }
    }

    /// Every external extension has registered.
    pub(crate) fn all_registered(&self) -> bool {
        let known = |name: &str| self.extensions.iter().any(|extension| extension.name == name);
        self.processes.iter().all(|process| known(&process.name))
    }

    /// Every extension has asked for its first event.
    pub(crate) fn all_asked(&self) -> bool {
        self.extensions.iter().all(|extension| extension.asked)
    }

    /// Every extension waits for an event, and none is on its way.
    pub(crate) fn all_waiting(&self) -> bool {
        self.extensions.iter().all(|extension| extension.waiting && extension.inbox.is_none())
    }

    pub(crate) fn extension_ended(&self) -> bool {
        self.processes.iter().any(|process| process.exit.is_some())
    }

    pub(crate) fn all_extensions_ended(&self) -> bool {
        self.processes.iter().all(|process| process.exit.is_some())
    }
}

impl Platform {
    /// Waits until `reached`. False: `deadline` came first.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        deadline: Instant,
        reached: impl FnMut(&PlatformState) -> bool,
    ) -> bool {
        let mut states = self.state.subscribe();
        let change = async { states.wait_for(reached).await.is_ok() };
        tokio::time::timeout_at(deadline, change).await.unwrap_or(false)
    }

    /// Changes the state and wakes everybody who waits for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut PlatformState) -> T) -> T {
        let mut result = None;
        self.state.send_modify(|state| result = Some(change(state)));
        // send_modify always calls its closure.
        result.unwrap_or_else(|| unreachable!("the closure ran"))
    }
}

/// As good as for ever, because the long polls have no timeout.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
