//! Init: extensions first, then the runtime, until all have asked for their next event.
//!
//! In: what the environment is made of. Out: an [`InitOutcome`]; on the way, platform events.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Function;
use super::invoke::Failure;
use super::records::{self, Phase};
use super::state::State;
use super::supervisor::Supervisor;
use crate::outcome::{InitOutcome, Status};
use crate::telemetry::Told;

impl Supervisor {
    /// Starts extensions, then the runtime, and waits until all have asked for their next event.
    pub(crate) async fn bring_up(&mut self, phase: Phase) -> io::Result<InitOutcome> {
        let begun = Instant::now();
        let limit = match phase {
            Phase::Init => self.config.switches.init_limit,
            Phase::Invoke => self.config.timeout,
        };
        let deadline = begun + limit;
        let kills = self.kills();
        self.open_generation(phase);
        for extension in self.config.extensions.clone() {
            self.step(&format!("starting extension {}", extension.name));
            self.start_extension(&extension).await?;
        }
        let registered = |state: &State| state.all_registered() || state.extension_ended();
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
            let asked = |state: &State| state.all_asked() || state.extension_ended();
            let in_time = self.lambda.wait(deadline, asked).await;
            failure = self.init_failure(in_time, kills);
        }
        Ok(self.close_init(phase, failure.as_ref(), begun.elapsed()))
    }

    fn open_generation(&mut self, phase: Phase) {
        self.step("init");
        if let (Phase::Invoke, Some(cgroup)) = (phase, &self.cgroup) {
            cgroup.reset_peak();
        }
        self.lambda.change(|state| {
            let generation = state.generation + 1;
            *state = State { generation, registration_open: true, ..State::default() };
        });
        self.lambda.hub.open();
        if phase == Phase::Invoke {
            self.lambda.hub.tell(Told::Restart);
        }
        let version = match &self.config.function {
            Function::Command(command) => command.runtime_version.as_str(),
            Function::BuiltIn | Function::Synthetic => "provided:al2023.v1",
        };
        let identity = &self.lambda.identity;
        let record = records::init_start(identity, phase, version, &self.instance);
        self.lambda.hub.platform("platform.initStart", record);
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
        let asked = |state: &State| {
            let runtime = &state.runtime;
            runtime.asked
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
        InitOutcome { status, error_type, duration }
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
        if state.runtime.init_error.is_some() {
            return error("Runtime.Unknown");
        }
        let (status, error_type, runtime_exit) = (Status::Timeout, None, None);
        (!in_time).then_some(Failure { status, error_type, runtime_exit })
    }
}
