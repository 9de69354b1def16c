//! The scenarios: each runs an extension in the sandbox once and adds what it saw to a report.
//!
//! In: a subject and its limits. Out: values in a [`Report`]. A scenario that cannot run here says
//! why; one that ran and did not do what it should is an error.

mod child;
mod idle;
pub(crate) mod invocations;
pub(crate) mod oom;
mod quiet;
mod start;
mod system_calls;

use std::io;
use std::time::Duration;

use sandbox::{Builder, Environment, Extension, Place, Status};

use crate::args::{Build, Measure};
use crate::binary;
use crate::build::Subject;
use crate::figure::Scenario;
use crate::progress::Progress;
use crate::report::Report;

/// What every scenario needs to know.
pub(crate) struct Plan<'a> {
    pub(crate) args: &'a Measure,
    pub(crate) subject: &'a Subject,
    pub(crate) progress: &'a Progress,
}

/// Runs all of them, as often as asked.
pub(crate) fn run_all(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    plan.progress.begins(Scenario::Binary);
    binary::measure(report, plan.subject)?;
    if let Some(processor) = binary::foreign_processor(&plan.subject.path)? {
        // By qemu it would run, and its memory would be qemu's.
        let reason =
            format!("a program for {processor}: on this machine only its file is measured");
        for scenario in Scenario::ALL.into_iter().filter(|each| *each != Scenario::Binary) {
            report.skip(scenario, &reason, false);
        }
        return Ok(());
    }
    plan.repeat(Scenario::Start, || start::run(plan, report))?;
    plan.repeat(Scenario::Idle, || idle::run(plan, report))?;
    plan.repeat(Scenario::Invocations, || invocations::run(plan, report))?;
    plan.repeat(Scenario::SystemCalls, || system_calls::run(plan, report))?;
    quiet::run_all(plan, report)?;
    let place = match sandbox::access().place() {
        Ok(place) => place,
        Err(why) => {
            for scenario in [Scenario::OomEmf, Scenario::OomTls, Scenario::Child] {
                report.skip(scenario, why.trim_end(), true);
            }
            return Ok(());
        }
    };
    sandbox::clean_leftovers(&place);
    plan.repeat(Scenario::OomEmf, || oom::emf(plan, &place, report))?;
    if plan.subject.ours && plan.args.subject.build == Build::LayerEmf {
        for scenario in [Scenario::OomTls, Scenario::Child] {
            report.skip(scenario, "this build has no network", false);
        }
        return Ok(());
    }
    let mut sent = None;
    plan.repeat(Scenario::OomTls, || {
        sent = oom::tls(plan, &place, report)?.or(sent.take());
        Ok(())
    })?;
    match sent {
        Some(sent) => plan.repeat(Scenario::Child, || child::run(plan, &sent, report)),
        None => {
            let reason = "no process of its own was seen that made the request";
            report.skip(Scenario::Child, reason, plan.subject.ours);
            Ok(())
        }
    }
}

impl Plan<'_> {
    /// How many steps [`run_all`] takes at most.
    pub(crate) fn steps(args: &Measure) -> u64 {
        // All scenarios but the file itself.
        u64::from(args.repetitions) * (Scenario::ALL.len() as u64 - 1)
    }

    fn repeat(
        &self,
        scenario: Scenario,
        mut run: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        self.progress.begins(scenario);
        for _ in 0..self.args.repetitions {
            run().map_err(|error| io::Error::other(format!("{}: {error}", scenario.name())))?;
            self.progress.advance();
        }
        Ok(())
    }

    fn extension(&self) -> Extension {
        Extension::new(&self.subject.path)
    }
}

/// Starts an environment whose init must succeed.
pub(crate) fn start_environment(builder: Builder) -> io::Result<Environment> {
    let environment = builder.start()?;
    let init = environment.init();
    if init.status == Status::Success {
        return Ok(environment);
    }
    let why = init.error_type.clone().unwrap_or_else(|| "timeout".into());
    let lines = environment.extension_lines();
    let last = lines.last().map_or("it wrote nothing", |line| line.text.as_str());
    Err(io::Error::other(format!("the extension's init failed: {why}; its last line: {last}")))
}

/// The pid of the extension, which runs.
pub(crate) fn pid_of(environment: &Environment) -> io::Result<u32> {
    environment.extension_pid().ok_or_else(gone)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn gone() -> io::Error {
    io::Error::other("the extension ended by itself")
}

/// An environment was asked to run where a limit and a kill are real.
type At<'a> = &'a Place;
