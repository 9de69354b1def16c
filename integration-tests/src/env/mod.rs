//! One execution environment, for the code that uses it.
//!
//! In: a [`Builder`], then payloads. Out: the outcome of each invocation, what the processes wrote,
//! and what the extensions received. It never knows what a test or a command wants to see.
//!
//! Calls block. They must not be made inside an asynchronous task.

pub(crate) mod config;
mod init;
mod invoke;
mod managed;
mod port;
mod process;
pub(crate) mod records;
mod reset;
mod secrets;
mod supervisor;
mod tmp;
mod variables;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;

pub use config::{Builder, Extension, Function, FunctionCommand, Memory};
pub(crate) use port::ReservedPort;
pub use process::OutputStream;
pub(crate) use process::signal_group;
pub use reset::{ShutdownOutcome, ShutdownReason};
pub use supervisor::{Line, StartTimes};

use crate::outcome::{InitOutcome, InvocationOutcome, Status};
use crate::procfs::ProcStatus;
use crate::recording::RecordingLine;
use crate::state::PlatformState;
use crate::sync::lock;
use crate::telemetry::TelemetryPost;
use records::InitPhase;
use supervisor::Supervisor;

/// A running execution environment. Dropping it ends its processes and removes its cgroup.
pub struct Environment {
    supervisor: Supervisor,
    init: InitOutcome,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("init", &self.init).finish_non_exhaustive()
    }
}

impl Environment {
    /// The parts of an environment. [`Builder::start`] starts it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The outcome of the init. A failed init is repeated in the first invocation.
    pub fn init(&self) -> &InitOutcome {
        &self.init
    }

    /// Invokes the function and waits for the end of the invocation. The end of a failed one
    /// includes its shutdown.
    ///
    /// # Errors
    /// When a process cannot be started. A failing function is an [`InvocationOutcome`].
    pub fn invoke(&mut self, payload: &str) -> io::Result<InvocationOutcome> {
        self.invoke_as(None, payload)
    }

    /// Invokes with all of these payloads at once, as on Managed Instances, and waits until each
    /// has ended. If the environment went down before, a new one with a new `/tmp` replaces it.
    ///
    /// # Errors
    /// When a process cannot be started, or the new environment's init fails.
    pub fn invoke_at_once(&mut self, payloads: &[String]) -> io::Result<Vec<InvocationOutcome>> {
        runtime()?.block_on(self.supervisor.invoke_at_once(payloads))
    }

    /// Invokes with this request id, as a retry of an asynchronous event does. `None`: a new one.
    ///
    /// # Errors
    /// As [`Environment::invoke`].
    pub fn invoke_as(
        &mut self,
        id: Option<String>,
        payload: &str,
    ) -> io::Result<InvocationOutcome> {
        runtime()?.block_on(self.supervisor.invoke(payload, id))
    }

    /// Sends SHUTDOWN and waits until the extensions have ended.
    ///
    /// # Errors
    /// When the sandbox has no threads of its own.
    pub fn shutdown(&mut self, reason: ShutdownReason) -> io::Result<ShutdownOutcome> {
        let outcome = runtime()?.block_on(self.supervisor.shutdown(reason));
        Ok(outcome)
    }

    /// Posts any body to every subscriber, over a new connection. Returns their statuses.
    ///
    /// # Errors
    /// When the sandbox has no threads of its own.
    pub fn post_bytes(&self, body: &[u8]) -> io::Result<Vec<Option<u16>>> {
        Ok(runtime()?.block_on(self.supervisor.lambda.hub.post(body, false)))
    }

    /// Posts any body over one connection that stays open, as Lambda's does.
    ///
    /// # Errors
    /// When the sandbox has no threads of its own.
    pub fn post_kept(&self, body: &[u8]) -> io::Result<Vec<Option<u16>>> {
        Ok(runtime()?.block_on(self.supervisor.lambda.hub.post(body, true)))
    }

    /// Sends INVOKE to the extensions only, and waits until they ask for the next event. This is
    /// for synthetic functions. False: they did not ask within the function's timeout.
    ///
    /// # Errors
    /// When the sandbox has no threads of its own.
    pub fn send_invoke(&mut self, request_id: &str) -> io::Result<bool> {
        let lambda = &self.supervisor.lambda;
        let deadline_ms = crate::clock::epoch_ms(self.supervisor.config.timeout);
        let event = records::invoke_event(request_id, "Root=1-0-0", deadline_ms);
        let line = RecordingLine::Invoke(request_id.to_string());
        lambda.change(|state| state.send(&line, &event));
        let deadline = Instant::now() + self.supervisor.config.timeout;
        let waiting = |state: &PlatformState| state.all_waiting() || state.extension_ended();
        Ok(runtime()?.block_on(lambda.wait(deadline, waiting)))
    }

    /// Starts the extensions again. The environment's `/tmp` stays.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn restart(&mut self) -> io::Result<()> {
        self.init = runtime()?.block_on(self.supervisor.bring_up(InitPhase::Invoke, None))?;
        Ok(())
    }

    /// Waits until the extension's lines are as `reached` wants. False: not within `limit`.
    ///
    /// # Errors
    /// When the sandbox has no threads of its own.
    pub fn wait_for_lines(
        &self,
        limit: Duration,
        reached: impl Fn(&[Line]) -> bool,
    ) -> io::Result<bool> {
        let collected = &self.supervisor.collected;
        let wait = async {
            while !reached(&lock(collected).extension) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        Ok(runtime()?.block_on(async { tokio::time::timeout(limit, wait).await.is_ok() }))
    }

    /// The pid of the first extension while it runs.
    pub fn extension_pid(&self) -> Option<u32> {
        let state = self.supervisor.lambda.state.borrow();
        state.processes.first().filter(|process| process.exit.is_none())?.pid
    }

    /// The memory of the first extension now.
    pub fn extension_status(&self) -> Option<ProcStatus> {
        self.extension_pid().and_then(ProcStatus::read)
    }

    /// How long the first extension took to come up at its last start.
    pub fn start_times(&self) -> Option<StartTimes> {
        let state = self.supervisor.lambda.state.borrow();
        let process = state.processes.first()?;
        let registered = state.extensions.iter().find(|known| known.name == process.name)?;
        Some(StartTimes {
            registered: registered.registered?.duration_since(process.started),
            first_next: registered.first_asked?.duration_since(process.started),
        })
    }

    /// What the extensions wrote so far.
    pub fn extension_lines(&self) -> Vec<Line> {
        lock(&self.supervisor.collected).extension.clone()
    }

    /// Where the extensions wrote the value of one of their secret variables so far, such as
    /// `DD_API_KEY`: in a line, in the journal or in a command line. `None`: nowhere.
    pub fn written_secret(&self) -> Option<String> {
        self.supervisor.written_secret()
    }

    /// What the function wrote so far.
    pub fn function_lines(&self) -> Vec<Line> {
        lock(&self.supervisor.collected).function.clone()
    }

    /// The largest of all figures seen, also in SHUTDOWN.
    pub fn peak(&self) -> Option<ProcStatus> {
        lock(&self.supervisor.collected).peak
    }

    /// The platform's events and the log records, in the order in which they were made.
    pub fn telemetry(&self) -> Vec<Value> {
        self.supervisor.lambda.hub.emitted()
    }

    /// The path to which telemetry is posted, as the first subscriber asked.
    pub fn telemetry_path(&self) -> Option<String> {
        self.supervisor.lambda.hub.path()
    }

    /// The telemetry requests, as they were sent and answered.
    pub fn posted(&self) -> Vec<TelemetryPost> {
        self.supervisor.lambda.hub.recorder.posted()
    }

    /// What the first extension received, in order.
    pub fn recording(&self) -> Vec<RecordingLine> {
        self.supervisor.lambda.hub.recorder.lines()
    }

    /// The folder that is the environment's `/tmp`, as this machine calls it.
    pub fn folder(&self) -> &Path {
        self.supervisor.tmp.path()
    }

    /// Whether its processes see that folder as `/tmp`. Without the right to mount they see the
    /// machine's `/tmp`, and `TMPDIR` names the folder.
    pub fn has_own_tmp(&self) -> bool {
        self.supervisor.tmp.is_mounted()
    }

    /// The cgroup's folder, where there is a cgroup.
    pub fn cgroup(&self) -> Option<PathBuf> {
        self.supervisor.cgroup.as_ref().map(|cgroup| cgroup.folder().to_path_buf())
    }

    /// Whether the environment is frozen now.
    pub fn frozen(&self) -> bool {
        self.supervisor.frozen
    }
}

impl Builder {
    /// Starts the environment, and returns after its init. The init may have failed: see
    /// [`Environment::init`].
    ///
    /// # Errors
    /// When the cgroup cannot be made or a process cannot be started.
    pub fn start(self) -> io::Result<Environment> {
        runtime()?.block_on(async {
            let mut supervisor = Supervisor::new(self).await?;
            let init = supervisor.bring_up(InitPhase::Init, None).await?;
            if init.status != Status::Success {
                supervisor.shutdown(ShutdownReason::after(init.status)).await;
            }
            Ok(Environment { supervisor, init })
        })
    }
}

/// The threads of all environments. They never end, as a process dies with the thread that started
/// it.
pub(crate) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| io::Error::other(error.clone()))
}
