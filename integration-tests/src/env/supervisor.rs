//! The supervisor of one environment: what it holds, and how it starts its processes.
//!
//! It lives outside the cgroup. `init` and `invoke` have its inits and invocations, `reset` its
//! ends.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::config::{Builder, Extension, Function, FunctionCommand, Memory};
use super::port::ReservedPort;
use super::process::{self, LineHandler, OutputStream, ProcessContext, ProcessSpec};
use super::secrets::secrets;
use super::tmp::Tmp;
use crate::cgroup::Cgroup;
use crate::identity::Identity;
use crate::procfs::ProcStatus;
use crate::receiver::secret;
use crate::state::{ExtensionProcess, Platform, PlatformState};
use crate::sync::lock;
use crate::telemetry::Hub;
use crate::{api, helper};

/// A line that a process wrote.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which of its outputs.
    pub stream: OutputStream,
    /// When it was read.
    pub time: Timestamp,
    /// The line, without its end.
    pub text: String,
}

/// How long the first extension took to come up.
#[derive(Clone, Copy, Debug)]
pub struct StartTimes {
    /// From just before its start to its registration.
    pub registered: Duration,
    /// From just before its start to its first request for an event.
    pub first_next: Duration,
}

/// The output and the measurements of a running environment.
#[derive(Debug, Default)]
pub(crate) struct CollectedOutput {
    pub(crate) extension: Vec<Line>,
    pub(crate) function: Vec<Line>,
    pub(crate) peak: Option<ProcStatus>,
    /// Those of the environment's processes in a shutdown.
    pub(crate) command_lines: BTreeSet<String>,
}

pub(crate) struct Supervisor {
    pub(crate) config: Builder,
    pub(crate) lambda: Arc<Platform>,
    pub(crate) cgroup: Option<Arc<Cgroup>>,
    pub(crate) tmp: Tmp,
    pub(crate) collected: Arc<Mutex<CollectedOutput>>,
    pub(crate) instance: String,
    /// The value of the function's AWS credentials.
    pub(crate) credential: String,
    /// Values that no extension may write.
    pub(crate) secrets: BTreeSet<String>,
    pub(crate) api: String,
    pub(crate) port: ReservedPort,
    pub(crate) up: bool,
    pub(crate) frozen: bool,
    /// Reports of failed invocations that were not delivered yet.
    pub(crate) late_reports: Vec<(Timestamp, Value)>,
    /// The duration of the init that the next report mentions.
    pub(crate) init_duration: Option<Duration>,
    /// The readers of the runtime's outputs, and of the extensions'.
    pub(crate) readers: Vec<JoinHandle<()>>,
    pub(crate) extension_readers: Vec<JoinHandle<()>>,
    server: JoinHandle<()>,
}

impl Supervisor {
    pub(crate) async fn new(mut config: Builder) -> io::Result<Self> {
        config.sandbox = config.sandbox.or_else(helper::binary);
        if matches!(config.function, Function::BuiltIn) {
            config.function = Function::Command(built_in(config.sandbox.as_deref())?);
        }
        let identity = Identity {
            handler: match &config.function {
                Function::Command(command) => command.handler.clone(),
                Function::BuiltIn | Function::Synthetic => HANDLER.into(),
            },
            memory_mb: config.memory_mb,
            initialization_type: config.initialization_type,
        };
        let subject = config.extensions.first().map(|first| first.name.clone());
        let subject = subject.unwrap_or_default();
        let cgroup = match &config.memory {
            Memory::Limited(place) => Some(Cgroup::create(place, config.memory_mb << 20)?),
            Memory::Unlimited => None,
        };
        // Weak: the cgroup ends with the supervisor, even if the stream lives longer.
        let group = cgroup.as_ref().map(Arc::downgrade);
        let counter = Box::new(move || kills(group.as_ref().and_then(Weak::upgrade).as_deref()));
        let lambda = Arc::new(Platform {
            state: watch::Sender::new(PlatformState::default()),
            hub: Hub::new(subject, counter, config.log_format, config.switches.clone()),
            identity,
            faults: Mutex::new(config.faults.clone()),
        });
        let (address, server) = api::serve(Arc::clone(&lambda)).await?;
        Ok(Self {
            lambda,
            cgroup,
            tmp: Tmp::new(&config)?,
            collected: Arc::default(),
            instance: Uuid::new_v4().to_string(),
            credential: secret(),
            secrets: BTreeSet::new(),
            api: address.to_string(),
            port: ReservedPort::new()?,
            up: false,
            frozen: false,
            late_reports: Vec::new(),
            init_duration: None,
            readers: Vec::new(),
            extension_readers: Vec::new(),
            server,
            config,
        })
    }

    /// Starts one extension. Its exit changes the state.
    pub(crate) async fn start_extension(&mut self, extension: &Extension) -> io::Result<()> {
        let mut variables = self.common_variables();
        variables.extend(extension.variables.clone());
        self.secrets.extend(secrets(&variables));
        self.secrets.extend(extension.secrets.clone());
        let spec = ProcessSpec {
            program: extension.path.clone(),
            args: extension.args.clone(),
            variables,
            folder: PathBuf::from("/"),
            log_descriptor: false,
        };
        let (lambda, collected) = (Arc::clone(&self.lambda), Arc::clone(&self.collected));
        let take = move |stream, time, text: String| {
            let line = Line { stream, time, text: text.trim_end_matches('\n').to_string() };
            lock(&collected).extension.push(line);
            lambda.hub.emit(time, "extension", text.into());
        };
        // Before the process exists, as it may register before `start` returns.
        let name = extension.name.clone();
        self.lambda.change(|state| {
            let (name, started) = (name.clone(), Instant::now());
            state.processes.push(ExtensionProcess { name, pid: None, exit: None, started });
        });
        let readers = self.start(spec, take, move |state, pid, exit| {
            let known = state.processes.iter_mut().filter(|process| process.name == name);
            known.for_each(|process| (process.pid, process.exit) = (pid, exit));
        });
        self.extension_readers.extend(readers.await?);
        Ok(())
    }

    /// Starts the runtime. Its exit changes the state.
    pub(crate) async fn start_runtime(&mut self) -> io::Result<()> {
        let Function::Command(command) = &self.config.function else { return Ok(()) };
        let spec = ProcessSpec {
            program: command.command.first().map(PathBuf::from).unwrap_or_default(),
            args: command.command.iter().skip(1).cloned().collect(),
            variables: self.runtime_variables(command),
            folder: command.task_root.clone(),
            // Managed Instances have a socket instead, which clients do not need.
            log_descriptor: !self.is_managed(),
        };
        let (lambda, collected) = (Arc::clone(&self.lambda), Arc::clone(&self.collected));
        let keep_newline = self.config.switches.trailing_newline;
        let take = move |stream, time, text: String| {
            let plain = text.strip_suffix('\n').unwrap_or(&text).to_string();
            lock(&collected).function.push(Line { stream, time, text: plain.clone() });
            let record = if keep_newline || stream == OutputStream::Frame { text } else { plain };
            lambda.hub.emit(time, "function", record.into());
        };
        let set = |state: &mut PlatformState, pid, exit| {
            (state.runtime.pid, state.runtime.exit) = (pid, exit);
        };
        self.readers = self.start(spec, take, set).await?;
        Ok(())
    }

    /// Starts a process and returns the readers of its outputs. `set` notes its pid, and later its
    /// exit, in the state of the same generation.
    async fn start(
        &self,
        spec: ProcessSpec,
        take: impl LineHandler,
        set: impl Fn(&mut PlatformState, Option<u32>, Option<ExitStatus>) + Send + Sync + 'static,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let place = ProcessContext {
            procs_files: self.cgroup.as_ref().map(|group| group.procs_files()).unwrap_or_default(),
            tmp: self.tmp.way.clone(),
            helper: self.config.sandbox.clone(),
        };
        let generation = self.lambda.state.borrow().generation;
        let started = process::start(spec, place, take).await?;
        let lambda = Arc::clone(&self.lambda);
        let note = move |exit| {
            lambda.change(|state| {
                if state.generation == generation {
                    set(state, Some(started.pid), exit);
                }
            });
        };
        note(None);
        tokio::spawn(async move { note(started.exit.await.ok().and_then(Result::ok)) });
        Ok(started.readers)
    }

    /// Moves the environment to a new machine: its `/tmp` is empty.
    pub(crate) fn replace_tmp(&mut self) -> io::Result<()> {
        self.tmp = Tmp::new(&self.config)?;
        Ok(())
    }

    pub(crate) fn kills(&self) -> u64 {
        kills(self.cgroup.as_deref())
    }

    /// Measures the first extension now, for its peak.
    pub(crate) fn sample(&self) {
        let pid = self.lambda.state.borrow().processes.first().and_then(|process| process.pid);
        if let Some(status) = pid.and_then(ProcStatus::read) {
            let mut collected = lock(&self.collected);
            collected.peak = Some(collected.peak.map_or(status, |peak| peak.max(status)));
        }
    }

    pub(crate) fn thaw(&mut self) {
        if let (true, Some(cgroup)) = (self.frozen, &self.cgroup) {
            cgroup.thaw();
        }
        self.frozen = false;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.server.abort();
        self.thaw();
        let state = self.lambda.state.borrow();
        let runtime = state.runtime.pid.filter(|_| state.runtime.exit.is_none());
        let open = state.processes.iter().filter(|process| process.exit.is_none());
        for pid in open.filter_map(|process| process.pid).chain(runtime) {
            process::signal_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The function that the binary `sandbox` has built in.
fn built_in(helper: Option<&Path>) -> io::Result<FunctionCommand> {
    let missing = "the binary `sandbox` was not found: build it first";
    let helper = helper.ok_or_else(|| io::Error::other(missing))?;
    Ok(FunctionCommand {
        command: vec![helper.to_string_lossy().into(), helper::FUNCTION.into()],
        handler: HANDLER.into(),
        task_root: "/".into(),
        runtime_version: "provided:al2023.v1".into(),
        ..FunctionCommand::default()
    })
}

const HANDLER: &str = "function.handler";

fn kills(cgroup: Option<&Cgroup>) -> u64 {
    cgroup.and_then(|cgroup| cgroup.oom_kills().ok()).unwrap_or(0)
}
