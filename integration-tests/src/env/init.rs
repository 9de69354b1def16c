//! Init: extensions first, then the runtime, until all have asked for their next event.
//!
//! In: the parts of the environment. Out: an [`InitOutcome`], and platform events on the way.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Function;
use super::invoke::{Failure, RunningInvocation};
use super::records::{self, Phase};
use super::supervisor::Supervisor;
use crate::identity::InitializationType;
use crate::outcome::{InitOutcome, Status};
use crate::recording::RecordingLine;
use crate::state::LambdaState;

impl Supervisor {
    /// Starts extensions, then the runtime, and waits until all have asked for their next event.
    /// With SnapStart a restore follows. `within` is the invocation that the init is part of, if
    /// that one starts first.
    pub(crate) async fn bring_up(
        &mut self,
        phase: Phase,
        within: Option<&RunningInvocation>,
    ) -> io::Result<InitOutcome> {
        let snapshot = self.config.initialization_type == InitializationType::SnapStart;
        let phase = if snapshot && phase == Phase::Init { Phase::SnapStart } else { phase };
        let init = self.init(phase, within).await?;
        let alone = matches!(self.config.function, Function::Synthetic);
        if snapshot && !alone && init.status == Status::Success {
            return Ok(self.restore(init).await);
        }
        Ok(init)
    }

    async fn init(
        &mut self,
        phase: Phase,
        within: Option<&RunningInvocation>,
    ) -> io::Result<InitOutcome> {
        let begun = Instant::now();
        let limit = match (phase, self.config.initialization_type) {
            (Phase::Init, InitializationType::OnDemand) => self.config.switches.init_limit,
            (Phase::Init | Phase::SnapStart, _) => LONG_INIT_LIMIT.max(self.config.timeout),
            (Phase::Invoke, _) => self.config.timeout,
        };
        let deadline = begun + limit;
        let kills = self.kills();
        if self.config.switches.cold {
            drop_page_cache()?;
        }
        self.open_generation(phase, within).await;
        for extension in self.config.extensions.clone() {
            self.step(&format!("starting extension {}", extension.name));
            self.start_extension(&extension).await?;
        }
        let registered = |state: &LambdaState| state.all_registered() || state.extension_ended();
        let in_time = self.lambda.wait(deadline, registered).await;
        let mut failure = self.init_failure(in_time, kills);
        if failure.is_none() {
            failure = self.bring_runtime_up(deadline, kills).await?;
        }
        let (status, error) = match &failure {
            Some(failure) => (failure.status, failure.error_type.as_deref()),
            None => (Status::Success, None),
        };
        let identity = self.lambda.identity.clone();
        let hub = &self.lambda.hub;
        let done = records::init_runtime_done(&identity, phase, status, error);
        hub.platform("platform.initRuntimeDone", done);
        if failure.is_none() {
            let asked = |state: &LambdaState| state.all_asked() || state.extension_ended();
            let in_time = self.lambda.wait(deadline, asked).await;
            failure = self.init_failure(in_time, kills);
        }
        Ok(self.close_init(phase, failure.as_ref(), kills, begun.elapsed()))
    }

    async fn open_generation(&mut self, phase: Phase, within: Option<&RunningInvocation>) {
        self.step("init");
        if let (Phase::Invoke, Some(cgroup)) = (phase, &self.cgroup) {
            cgroup.reset_peak();
        }
        self.lambda.change(|state| {
            let generation = state.generation + 1;
            *state = LambdaState { generation, registration_open: true, ..LambdaState::default() };
        });
        self.lambda.hub.open().await;
        if phase == Phase::Invoke {
            self.lambda.hub.record(RecordingLine::Restart);
        }
        if let Some(running) = within {
            self.announce(running);
        }
        let identity = &self.lambda.identity;
        let record = records::init_start(identity, phase, self.runtime_version(), &self.instance);
        self.lambda.hub.platform("platform.initStart", record);
    }

    fn runtime_version(&self) -> &str {
        match &self.config.function {
            Function::Command(command) => command.runtime_version.as_str(),
            Function::BuiltIn | Function::Synthetic => "provided:al2023.v1",
        }
    }

    /// Takes the snapshot and restores it. Then the runtime's hooks run.
    async fn restore(&mut self, init: InitOutcome) -> InitOutcome {
        self.step("restore");
        let (begun, kills) = (Instant::now(), self.kills());
        let identity = self.lambda.identity.clone();
        let record = records::restore_start(&identity, self.runtime_version(), &self.instance);
        self.lambda.hub.platform("platform.restoreStart", record);
        self.lambda.change(|state| state.runtime.restored = true);
        let ready = |state: &LambdaState| {
            let runtime = &state.runtime;
            let ended = runtime.exit.is_some() || runtime.restore_error.is_some();
            runtime.asked || ended || state.extension_ended()
        };
        let in_time = self.lambda.wait(begun + RESTORE_LIMIT, ready).await;
        let failure = self.init_failure(in_time, kills);
        let status = failure.as_ref().map_or(Status::Success, |failure| failure.status);
        let error_type = failure.and_then(|failure| failure.error_type);
        let (hub, error) = (&self.lambda.hub, error_type.as_deref());
        hub.platform("platform.restoreRuntimeDone", records::restore_runtime_done(status, error));
        let duration = begun.elapsed();
        hub.platform("platform.restoreReport", records::restore_report(status, error, duration));
        if status == Status::Success {
            return init;
        }
        let oom_kills = self.kills().saturating_sub(kills);
        InitOutcome { status, error_type, oom_kills, in_restore: true, duration }
    }

    async fn bring_runtime_up(
        &mut self,
        deadline: Instant,
        kills: u64,
    ) -> io::Result<Option<Failure>> {
        if matches!(self.config.function, Function::Synthetic) {
            return Ok(None);
        }
        self.step("starting the runtime");
        self.start_runtime().await?;
        let asked = |state: &LambdaState| {
            let runtime = &state.runtime;
            runtime.asked
                || runtime.at_snapshot
                || runtime.exit.is_some()
                || runtime.init_error.is_some()
                || state.extension_ended()
        };
        let in_time = self.lambda.wait(deadline, asked).await;
        Ok(self.init_failure(in_time, kills))
    }

    fn close_init(
        &mut self,
        phase: Phase,
        failure: Option<&Failure>,
        kills_before: u64,
        duration: Duration,
    ) -> InitOutcome {
        let extensions = self.lambda.change(|state| {
            state.registration_open = false;
            state.extensions.clone()
        });
        let hub = &self.lambda.hub;
        for extension in &extensions {
            let record = records::extension(&extension.name, &extension.events);
            hub.platform("platform.extension", record);
        }
        let status = failure.map_or(Status::Success, |failure| failure.status);
        let error_type = failure.and_then(|failure| failure.error_type.clone());
        let identity = &self.lambda.identity;
        let error = error_type.as_deref();
        let report = records::init_report(identity, phase, status, error, duration);
        hub.platform("platform.initReport", report);
        hub.close();
        self.up = true;
        self.init_duration = Some(duration).filter(|_| phase == Phase::Init);
        let oom_kills = self.kills().saturating_sub(kills_before);
        InitOutcome { status, error_type, oom_kills, in_restore: false, duration }
    }

    /// What went wrong in this init so far.
    fn init_failure(&self, in_time: bool, kills_before: u64) -> Option<Failure> {
        let state = self.lambda.state.borrow();
        let error = |error_type: &str| {
            let runtime_exit = state.runtime.exit;
            Some(Failure {
                status: Status::Error,
                error_type: Some(error_type.to_string()),
                runtime_exit,
            })
        };
        if let Some(extension) = state.extensions.iter().find(|e| e.error.is_some()) {
            return error(extension.error.as_deref().unwrap_or("Extension.InitError"));
        }
        if state.extension_ended() {
            return error("Extension.Crash");
        }
        if state.runtime.exit.is_some() {
            return error(self.exit_type(state.runtime.exit, kills_before));
        }
        if state.runtime.init_error.is_some() || state.runtime.restore_error.is_some() {
            return error("Runtime.Unknown");
        }
        let (status, error_type, runtime_exit) = (Status::Timeout, None, None);
        (!in_time).then_some(Failure { status, error_type, runtime_exit })
    }
}

/// How long an init may take that no invocation waits for: 130 s, or the function's timeout (AWS).
const LONG_INIT_LIMIT: Duration = Duration::from_secs(130);

/// How long a restore may take: 10 s (AWS).
const RESTORE_LIMIT: Duration = Duration::from_secs(10);

/// The kernel then reads files again, and charges their pages to the process that needs them.
fn drop_page_cache() -> io::Result<()> {
    let file = "/proc/sys/vm/drop_caches";
    fs::write(file, "1").map_err(|error| {
        io::Error::new(error.kind(), format!("{file}: {error}: a cold page cache needs root"))
    })
}
