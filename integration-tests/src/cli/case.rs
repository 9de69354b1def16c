//! One case: a function, an extension and a memory size, run once from start to shutdown.
//!
//! In: the arguments of `sandbox run`. Out: a [`CaseOutcome`] with what happened and what the
//! extension said of it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use super::args::RunArgs;
use super::build;
use crate::count::{self, EmfLine};
use crate::env::{Builder, Environment, Extension, Function, Memory, ShutdownReason};
use crate::identity::InitializationType;
use crate::outcome::{InvocationOutcome, Status, Victim};
use crate::receiver::{self, Point, Receiver};
use crate::runtimes::Runtime;
use crate::scenario::Scenario;
use crate::work::Behavior;

/// What to run: everything is set up and built.
pub(super) struct Case<'a> {
    pub(super) run: &'a RunArgs,
    /// `None`: the built-in function.
    pub(super) runtime: Option<Runtime>,
    /// The scenario that the arguments name.
    pub(super) scenario: Option<Scenario>,
    extension: Extension,
    /// The payload of each invocation.
    payloads: Vec<String>,
}

/// The outcome of a case.
pub(super) struct CaseOutcome {
    /// The environment after its shutdown.
    pub(super) environment: Environment,
    /// The extension that the case is about. There may be others.
    extension: String,
    pub(super) outcomes: Vec<InvocationOutcome>,
    payloads: Vec<String>,
    /// The last shutdown's exits, if the environment was still up.
    exits: Vec<(String, Option<ExitStatus>)>,
    pub(super) detections: Vec<EmfLine>,
    /// What the receiver of its metrics has counted.
    pub(super) points: Vec<Point>,
    pub(super) count: f64,
    /// What the receiver could not read, or a secret in what the extension has written.
    problem: Option<String>,
}

impl<'a> Case<'a> {
    pub(super) fn new(run: &'a RunArgs) -> io::Result<Self> {
        let runtime = match run.runtime.as_str() {
            "builtin" | "built-in" => {
                Behavior::from_str(&run.behavior, true).map_err(io::Error::other)?;
                None
            }
            name => Some(Runtime::ready(name)?),
        };
        let scenario = match (&run.scenario, &runtime) {
            (Some(name), Some(runtime)) => Some(runtime.scenario(name)?),
            (Some(_), None) => {
                return Err(io::Error::other("the built-in function has no scenarios"));
            }
            (None, _) => None,
        };
        let extension = build::extension(run.extension.as_ref())?;
        let payloads = payloads(run, scenario.as_ref());
        Ok(Self { run, runtime, scenario, extension, payloads })
    }

    /// What the init is for.
    pub(super) fn initialization_type(&self) -> InitializationType {
        match self.run.managed {
            Some(_) => InitializationType::ManagedInstances,
            None => self.run.initialization,
        }
    }

    pub(super) fn run(&self, memory: &Memory) -> io::Result<CaseOutcome> {
        let mut receiver = Receiver::new(self.run.sink, self.run.key)?;
        if !self.run.late_receiver {
            receiver.start()?;
        }
        let mut environment = self.builder(memory, &receiver)?.start()?;
        let outcomes = self.invoke(&mut environment, &mut receiver)?;
        let exits = environment.shutdown(ShutdownReason::Spindown)?.exits;
        let lines = environment.extension_lines();
        let points = receiver.points(&lines);
        let unreadable = points.as_ref().err().map(ToString::to_string);
        let points = points.unwrap_or_default();
        Ok(CaseOutcome {
            extension: self.extension.name.clone(),
            payloads: self.payloads.clone(),
            outcomes,
            exits,
            detections: count::emf_lines(&lines),
            count: receiver::sum(&points),
            points,
            problem: unreadable.or_else(|| environment.written_secret()),
            environment,
        })
    }

    fn builder(&self, memory: &Memory, receiver: &Receiver) -> io::Result<Builder> {
        let run = self.run;
        let mut extension = self.extension.clone();
        extension.variables.extend(receiver.variables());
        extension.secrets = receiver.secrets();
        extension.variables.extend(run.variables.clone());
        let timeout = run.timeout.or(self.scenario.as_ref().map(|scenario| scenario.timeout));
        let mut builder = Environment::builder()
            .memory(memory.clone())
            .memory_mb(run.memory)
            .timeout(Duration::from_secs(timeout.unwrap_or(30)))
            .switches(run.switches.clone())
            .log_format(run.log_format)
            .initialization_type(self.initialization_type())
            .concurrency(run.managed.unwrap_or(1))
            .extension(extension);
        if let Some(words) = &run.beside {
            builder = builder.extension(build::beside(words)?);
        }
        builder.faults.clone_from(&run.faults);
        let scenario = self.scenario.iter().flat_map(|scenario| &scenario.variables);
        let variables = scenario.chain(&run.function_variables).cloned();
        if let Some(runtime) = &self.runtime {
            let mut function = runtime.function();
            function.variables.extend(variables);
            return Ok(builder.function(Function::Command(function)));
        }
        // The built-in function has only the environment's variables.
        builder.variables.extend(variables);
        Ok(builder)
    }

    fn invoke(
        &self,
        environment: &mut Environment,
        receiver: &mut Receiver,
    ) -> io::Result<Vec<InvocationOutcome>> {
        let mut outcomes: Vec<InvocationOutcome> = Vec::new();
        if let Some(concurrency) = self.run.managed {
            for at_once in self.payloads.chunks(concurrency.max(1) as usize) {
                outcomes.extend(environment.invoke_at_once(at_once)?);
            }
            return Ok(outcomes);
        }
        for payload in &self.payloads {
            let first = outcomes.first().filter(|_| self.run.retry);
            let id = first.map(|first| first.request_id.clone());
            outcomes.push(environment.invoke_as(id, payload)?);
            if self.run.late_receiver && outcomes.len() == 1 {
                receiver.start()?;
            }
        }
        Ok(outcomes)
    }
}

/// The payload of each invocation. Those after the first may have another behavior.
fn payloads(run: &RunArgs, scenario: Option<&Scenario>) -> Vec<String> {
    let payload = |behavior: &str| {
        json!({
            "behavior": behavior, "workers": run.workers, "lines": run.lines,
            "mb": run.mb, "code": run.code, "repeat": run.repeat, "pause-ms": run.pause,
        })
        .to_string()
    };
    let first = scenario.map_or_else(|| payload(&run.behavior), |entry| entry.payload.clone());
    let succeed = run.then_succeed.then_some("succeed");
    let then = run.then.as_deref().or(succeed).map_or_else(|| first.clone(), payload);
    let mut payloads = vec![then; run.invocations as usize];
    payloads.iter_mut().take(1).for_each(|payload| payload.clone_from(&first));
    payloads
}

impl CaseOutcome {
    pub(super) fn function_killed(&self) -> bool {
        self.outcomes.iter().any(InvocationOutcome::function_killed)
    }

    /// What is wrong, whatever was expected.
    pub(super) fn problem(&self) -> Option<String> {
        let died = self.extension_died().map(|why| format!("the extension died: {why}"));
        died.or_else(|| self.problem.clone())
    }

    /// Why the extension did not survive. `None`: it survived.
    fn extension_died(&self) -> Option<String> {
        let init = self.environment.init();
        let kind = init.error_type.as_deref().unwrap_or("timeout");
        // An init that the runtime failed is not the extension's failure.
        if init.status != Status::Success && !kind.starts_with("Runtime.") {
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
        let mut own = ends.chain(&self.exits).filter(|(name, _)| *name == self.extension);
        own.find_map(|(_, exit)| match exit {
            Some(exit) if exit.success() => None,
            Some(exit) => Some(format!("ended SHUTDOWN with {exit}")),
            None => Some("still there at the deadline of SHUTDOWN".into()),
        })
    }

    /// Status and errorType of the first invocation.
    pub(super) fn end(&self) -> String {
        let Some(first) = self.outcomes.first() else { return String::new() };
        let error_type = first.error_type.as_deref().unwrap_or_default();
        format!("{} {error_type}", first.status.name()).trim().to_string()
    }

    /// The processes that the kernel killed in the first invocation.
    pub(super) fn killed(&self) -> String {
        self.outcomes.first().map(InvocationOutcome::killed).unwrap_or_default()
    }

    /// Invocation `number` had the same payload as the first.
    pub(super) fn same_payload(&self, number: usize) -> bool {
        self.payloads.get(number) == self.payloads.first()
    }

    pub(super) fn counted(&self, expected: u32) -> bool {
        (self.count - f64::from(expected)).abs() < f64::EPSILON
    }

    /// The extension's sentence about each detection. With a network sink it is on standard error.
    fn sentences(&self) -> Vec<String> {
        if !self.detections.is_empty() {
            return self.detections.iter().map(|line| line.message.clone()).collect();
        }
        let texts = self.environment.extension_lines().into_iter().map(|line| line.text);
        texts.filter(|text| text.contains("ran out of memory")).collect()
    }

    /// The text between the brackets of each of the extension's sentences. Equal ones in a row
    /// become one.
    pub(super) fn verdicts(&self) -> String {
        let sentences = self.sentences();
        let verdict = |message: &String| {
            let start = message.find('(').map_or(0, |at| at + 1);
            message[start..].trim_end_matches(')').to_string()
        };
        let all: Vec<_> = sentences.iter().map(verdict).collect();
        let each = |equal: &[String]| match equal {
            [one] => one.clone(),
            equal => format!("{} times {}", equal.len(), equal[0]),
        };
        let all: Vec<_> = all.chunk_by(|a, b| a == b).map(each).collect();
        if all.is_empty() { "-".into() } else { all.join("\n") }
    }
}
