//! Init: extensions first, then the runtime, until all have asked for their next event.
//!
//! In: the parts of the environment. Out: an [`InitOutcome`], and platform events on the way.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Function;
use super::invoke::{Failure, RunningInvocation};
use super::records::{self, InitPhase};
use super::supervisor::Supervisor;
use crate::identity::InitializationType;
use crate::outcome::{InitOutcome, Status};
use crate::recording::RecordingLine;
use crate::state::PlatformState;

impl Supervisor {
    /// Starts extensions, then the runtime, and waits until all have asked for their next event.
    /// With SnapStart a restore follows. `within` is the invocation that the init is part of, if
    /// that one starts first.
    pub(crate) async fn bring_up(
        &mut self,
        phase: InitPhase,
        within: Option<&RunningInvocation>,
    ) -> io::Result<InitOutcome> {
        let snapshot = self.config.initialization_type == InitializationType::SnapStart;
        let phase = if snapshot && phase == InitPhase::Init { InitPhase::SnapStart } else { phase };
        let init = self.init(phase, within).await?;
        let alone = matches!(self.config.function, Function::Synthetic);
        if snapshot && !alone && init.status == Status::Success {
            return Ok(self.restore(init).await);
        }
        Ok(init)
    }

    async fn init(
        &mut self,
        phase: InitPhase,
        within: Option<&RunningInvocation>,
    ) -> io::Result<InitOutcome> {
        let begun = Instant::now();
        let limit = match (phase, self.config.initialization_type) {
            (InitPhase::Init, InitializationType::OnDemand) => SHORT_INIT_LIMIT,
            (InitPhase::Init | InitPhase::SnapStart, _) => LONG_INIT_LIMIT.max(self.config.timeout),
            (InitPhase::Invoke, _) => self.config.timeout,
        };
        let deadline = begun + limit;
        let kills = self.kills();
        if self.config.switches.cold {
            drop_page_cache()?;
        }
        self.open_generation(phase, within).await;
        for extension in self.config.extensions.clone() {
            log::debug!("starting extension {}", extension.name);
            self.start_extension(&extension).await?;
        }
        let registered = |state: &PlatformState| state.all_registered() || state.extension_ended();
        let in_time = self.lambda.wait(deadline, registered).await;
        let mut failure = self.init_failure(in_time, kills);
        if failure.is_none() {
            failure = self.bring_runtime_up(deadline, kills).await?;
        }
        let end = Failure::end_of(failure.as_ref());
        let done = records::init_end(&self.lambda.identity, Some(phase), end, None);
        self.lambda.hub.platform("platform.initRuntimeDone", done);
        if failure.is_none() {
            let asked = |state: &PlatformState| state.all_asked() || state.extension_ended();
            let in_time = self.lambda.wait(deadline, asked).await;
            failure = self.init_failure(in_time, kills);
        }
        Ok(self.close_init(phase, failure.as_ref(), kills, begun.elapsed()))
    }

    async fn open_generation(&mut self, phase: InitPhase, within: Option<&RunningInvocation>) {
        log::debug!("init");
        if let (InitPhase::Invoke, Some(cgroup)) = (phase, &self.cgroup) {
            cgroup.reset_peak();
        }
        self.lambda.change(|state| {
            let generation = state.generation + 1;
            *state =
                PlatformState { generation, registration_open: true, ..PlatformState::default() };
        });
        self.lambda.hub.open().await;
        if phase == InitPhase::Invoke {
            self.lambda.hub.recorder.record(RecordingLine::Restart);
        }
        if let Some(running) = within {
            self.announce(running);
        }
        let identity = &self.lambda.identity;
        let record =
            records::init_start(identity, Some(phase), self.runtime_version(), &self.instance);
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
        log::debug!("restore");
        let (begun, kills) = (Instant::now(), self.kills());
        let (identity, hub) = (&self.lambda.identity, &self.lambda.hub);
        let record = records::init_start(identity, None, self.runtime_version(), &self.instance);
        hub.platform("platform.restoreStart", record);
        self.lambda.change(|state| state.runtime.restored = true);
        let ready = |state: &PlatformState| {
            let runtime = &state.runtime;
            let ended = runtime.exit.is_some() || runtime.failed;
            runtime.asked || ended || state.extension_ended()
        };
        let in_time = self.lambda.wait(begun + RESTORE_LIMIT, ready).await;
        let failure = self.init_failure(in_time, kills);
        let end = Failure::end_of(failure.as_ref());
        hub.platform("platform.restoreRuntimeDone", records::init_end(identity, None, end, None));
        let duration = begun.elapsed();
        hub.platform(
            "platform.restoreReport",
            records::init_end(identity, None, end, Some(duration)),
        );
        let Some(Failure { status, error_type, .. }) = failure else { return init };
        let oom_kills = self.kills().saturating_sub(kills);
        InitOutcome { status, error_type, oom_kills, in_restore: true }
    }

    async fn bring_runtime_up(
        &mut self,
        deadline: Instant,
        kills: u64,
    ) -> io::Result<Option<Failure>> {
        if matches!(self.config.function, Function::Synthetic) {
            return Ok(None);
        }
        log::debug!("starting the runtime");
        self.start_runtime().await?;
        let asked = |state: &PlatformState| {
            let runtime = &state.runtime;
            runtime.asked
                || runtime.at_snapshot
                || runtime.exit.is_some()
                || runtime.failed
                || state.extension_ended()
        };
        let in_time = self.lambda.wait(deadline, asked).await;
        Ok(self.init_failure(in_time, kills))
    }

    fn close_init(
        &mut self,
        phase: InitPhase,
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
        let end = Failure::end_of(failure);
        let report = records::init_end(&self.lambda.identity, Some(phase), end, Some(duration));
        hub.platform("platform.initReport", report);
        hub.close();
        self.up = true;
        self.init_duration = Some(duration).filter(|_| phase == InitPhase::Init);
        let oom_kills = self.kills().saturating_sub(kills_before);
        let error_type = end.1.map(str::to_string);
        InitOutcome { status: end.0, error_type, oom_kills, in_restore: false }
    }

    /// What went wrong in this init so far.
    fn init_failure(&self, in_time: bool, kills_before: u64) -> Option<Failure> {
        let state = self.lambda.state.borrow();
        let exit = state.runtime.exit;
        let mut reported = state.extensions.iter().filter_map(|known| known.error.as_deref());
        let error_type = if let Some(error_type) = reported.next() {
            error_type
        } else if state.extension_ended() {
            "Extension.Crash"
        } else if exit.is_some() {
            self.exit_type(exit, kills_before)
        } else if state.runtime.failed {
            "Runtime.Unknown"
        } else {
            return (!in_time).then(Failure::timeout);
        };
        Some(Failure::error(error_type, exit))
    }
}

/// How long an on-demand init may take: 10 s (AWS).
const SHORT_INIT_LIMIT: Duration = Duration::from_secs(10);

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
