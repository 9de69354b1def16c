//! One case: a function, an extension and a memory size, run once from start to shutdown.
//!
//! In: a [`Case`]. Out: an [`CaseOutcome`] case with what happened and what the extension said of
//! it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::args::Sink;
use crate::count::{self, EmfLine};
use crate::env::{Builder, Environment, Extension, Function, Line, Memory, ShutdownReason};
use crate::fault::Fault;
use crate::identity::InitializationType;
use crate::intake::{Intake, IntakeRequest};
use crate::outcome::{InitOutcome, InvocationOutcome, Status, Victim};
use crate::procfs::ProcStatus;
use crate::recording::RecordingLine;
use crate::runtimes::Runtime;
use crate::switches::Switches;
use crate::telemetry::LogFormat;

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// `None`: the built-in function.
    pub(super) runtime: Option<Runtime>,
    pub(super) extension: Extension,
    /// One more extension.
    pub(super) beside: Option<Extension>,
    pub(super) memory_mb: u64,
    /// The payload of each invocation.
    pub(super) payloads: Vec<String>,
    pub(super) log_format: LogFormat,
    pub(super) timeout: Duration,
    pub(super) sink: Sink,
    pub(super) switches: Switches,
    /// For the extension.
    pub(super) variables: Vec<(String, String)>,
    pub(super) function_variables: Vec<(String, String)>,
    pub(super) initialization_type: InitializationType,
    /// Invocations after the first have its request id, as the retries of an asynchronous event.
    pub(super) retry: bool,
    /// Managed Instances, with this many invocations at once.
    pub(super) managed: Option<u32>,
    pub(super) faults: Vec<Fault>,
}

/// The outcome of a case.
#[derive(Debug)]
pub(super) struct CaseOutcome {
    pub(super) init: InitOutcome,
    pub(super) memory_mb: u64,
    /// The extension that the case is about. There may be others.
    extension: String,
    pub(super) outcomes: Vec<InvocationOutcome>,
    pub(super) recording: Vec<RecordingLine>,
    payloads: Vec<String>,
    /// The last shutdown's exits, if the environment was still up.
    pub(super) exits: Vec<(String, Option<ExitStatus>)>,
    pub(super) said: Vec<EmfLine>,
    pub(super) count: f64,
    pub(super) peak: Option<ProcStatus>,
    pub(super) lines: Vec<Line>,
    pub(super) function_lines: Vec<Line>,
    pub(super) requests: Vec<IntakeRequest>,
    /// The folder that was its `/tmp`.
    pub(super) folder: PathBuf,
}

impl Case {
    /// A case with the usual settings, and no payload yet.
    pub(super) fn new(runtime: Option<Runtime>, extension: Extension, memory_mb: u64) -> Self {
        Self {
            runtime,
            extension,
            beside: None,
            memory_mb,
            payloads: Vec::new(),
            log_format: LogFormat::Text,
            timeout: Duration::from_secs(60),
            sink: Sink::Emf,
            switches: Switches::default(),
            variables: Vec::new(),
            function_variables: Vec::new(),
            initialization_type: InitializationType::OnDemand,
            retry: false,
            managed: None,
            faults: Vec::new(),
        }
    }

    /// Who the init is for.
    pub(super) fn initialization_type(&self) -> InitializationType {
        match self.managed {
            Some(_) => InitializationType::ManagedInstances,
            None => self.initialization_type,
        }
    }

    pub(super) fn run(
        &self,
        memory: Memory,
        step: impl Fn(&str) + Send + Sync + 'static,
    ) -> io::Result<CaseOutcome> {
        let intake = if self.sink == Sink::Emf { None } else { Some(Intake::start()?) };
        let mut environment = self.builder(memory, intake.as_ref()).on_step(step).start()?;
        let outcomes = self.invoke(&mut environment)?;
        let exits = environment.shutdown(ShutdownReason::Spindown)?.exits;
        let lines = environment.extension_lines();
        let said = count::emf_lines(&lines);
        let count = match &intake {
            Some(intake) => intake.points(),
            None => count::count_emf(&lines),
        };
        Ok(CaseOutcome {
            init: environment.init().clone(),
            memory_mb: self.memory_mb,
            extension: self.extension.name.clone(),
            recording: environment.recording(),
            payloads: self.payloads.clone(),
            outcomes,
            exits,
            said,
            count,
            peak: environment.peak(),
            lines,
            function_lines: environment.function_lines(),
            requests: intake.map(|intake| intake.requests()).unwrap_or_default(),
            folder: environment.folder().to_path_buf(),
        })
    }

    fn builder(&self, memory: Memory, intake: Option<&Intake>) -> Builder {
        let mut extension = self.extension.clone();
        extension.variables.extend(self.sink_variables(intake));
        extension.variables.extend(self.variables.clone());
        let function = match &self.runtime {
            Some(runtime) => {
                let mut function = runtime.function();
                function.variables.extend(self.function_variables.clone());
                Function::Command(function)
            }
            None => Function::BuiltIn,
        };
        let mut builder = Environment::builder();
        if self.runtime.is_none() {
            // The built-in function has only the environment's variables.
            for (name, value) in &self.function_variables {
                builder = builder.variable(name, value.as_str());
            }
        }
        for fault in &self.faults {
            builder = builder.fault(fault.clone());
        }
        builder = builder
            .extension(extension)
            .log_format(self.log_format)
            .initialization_type(self.initialization_type);
        if let Some(beside) = &self.beside {
            builder = builder.extension(beside.clone());
        }
        if let Some(concurrency) = self.managed {
            builder = builder
                .initialization_type(InitializationType::ManagedInstances)
                .concurrency(concurrency);
        }
        builder
            .memory(memory)
            .memory_mb(self.memory_mb)
            .function(function)
            .timeout(self.timeout)
            .switches(self.switches.clone())
    }

    fn invoke(&self, environment: &mut Environment) -> io::Result<Vec<InvocationOutcome>> {
        let mut outcomes: Vec<InvocationOutcome> = Vec::new();
        if let Some(concurrency) = self.managed {
            for at_once in self.payloads.chunks(concurrency.max(1) as usize) {
                outcomes.extend(environment.invoke_at_once(at_once)?);
            }
            return Ok(outcomes);
        }
        for payload in &self.payloads {
            let outcome = match outcomes.first().filter(|_| self.retry) {
                Some(first) => environment.invoke_as(&first.request_id, payload)?,
                None => environment.invoke(payload)?,
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn sink_variables(&self, intake: Option<&Intake>) -> Vec<(String, String)> {
        let Some(intake) = intake else { return Vec::new() };
        let mut variables = vec![("DD_API_KEY".to_string(), "sandbox".to_string())];
        if self.sink == Sink::DatadogHttps {
            variables.push(("DD_URL".into(), intake.https_url()));
            let file = intake.ca_file().to_string_lossy().into_owned();
            variables.push(("SSL_CERT_FILE".into(), file));
        } else {
            variables.push(("DD_URL".into(), intake.http_url()));
        }
        variables
    }
}

impl CaseOutcome {
    pub(super) fn function_killed(&self) -> bool {
        self.outcomes.iter().any(InvocationOutcome::function_killed)
    }

    /// Why the extension did not survive. `None`: it survived.
    pub(super) fn extension_died(&self) -> Option<String> {
        let kind = self.init.error_type.clone().unwrap_or_else(|| "timeout".into());
        // An init that the runtime failed is not the extension's failure.
        if self.init.status != Status::Success && !kind.starts_with("Runtime.") {
            return Some(format!("init: {kind}"));
        }
        let own = Victim::Extension(self.extension.clone());
        if self.outcomes.iter().any(|outcome| outcome.victims.contains(&own)) {
            return Some("killed by the kernel".into());
        }
        // With another extension beside it, that one may have crashed. The exits below tell.
        let crashed = |outcome: &InvocationOutcome| {
            let alone = outcome.extension_exits.len() < 2;
            alone && outcome.error_type.as_deref() == Some("Extension.Crash")
        };
        if self.outcomes.iter().any(crashed) {
            return Some("ended by itself".into());
        }
        let ends = self.outcomes.iter().flat_map(|outcome| &outcome.extension_exits);
        let own = ends.chain(&self.exits).filter(|(name, _)| *name == self.extension);
        own.into_iter().find_map(|(_, exit)| match exit {
            Some(exit) if exit.success() => None,
            Some(exit) => Some(format!("ended SHUTDOWN with {exit}")),
            None => Some("still there at the deadline of SHUTDOWN".into()),
        })
    }

    /// Invocation `number` had the same payload as the first.
    pub(super) fn same_payload(&self, number: usize) -> bool {
        self.payloads.get(number) == self.payloads.first()
    }

    pub(super) fn counted(&self, expected: u32) -> bool {
        (self.count - f64::from(expected)).abs() < f64::EPSILON
    }

    /// The extension's sentence about each detection.
    pub(super) fn sentences(&self) -> Vec<String> {
        if !self.said.is_empty() {
            return self.said.iter().map(|said| said.message.clone()).collect();
        }
        // With a network sink its sentences go to standard error.
        let said = self.lines.iter().filter(|line| line.text.contains("ran out of memory"));
        said.map(|line| line.text.clone()).collect()
    }

    /// The first of them, or `(nothing)`.
    pub(super) fn sentence(&self) -> String {
        self.sentences().into_iter().next().unwrap_or_else(|| "(nothing)".into())
    }
}
