//! The scenarios. Each runs an extension in the sandbox once and adds its figures to a report.
//!
//! In: an extension, and how often each scenario runs. Out: values in a [`CostReport`]. A scenario
//! that cannot run here says why. If the agent does not behave as it should, that is an error.

pub(crate) mod child;
pub(crate) mod oom;
mod quiet;
pub(crate) mod rest;
mod system_calls;

use std::io;

use sandbox::{Builder, Environment, Extension, ShutdownReason, Status};

use crate::args::{Build, Measure};
use crate::binary;
use crate::build::ExtensionFile;
use crate::figure::CostScenario;
use crate::process::gone;
use crate::report::CostReport;

/// What every scenario needs.
pub(crate) struct Plan<'a> {
    pub(crate) args: &'a Measure,
    pub(crate) extension: &'a ExtensionFile,
}

/// Runs all of them, as often as asked.
pub(crate) fn run_all(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    let foreign = binary::foreign_processor(&plan.extension.path)?;
    let place = sandbox::place();
    if let Ok(place) = &place {
        sandbox::clean_leftovers(place);
    }
    // `oom_tls` keeps the request of the extension's child here, and `child` sends it again.
    let mut request = None;
    for &scenario in CostScenario::all() {
        if let Some(processor) = foreign.filter(|_| scenario != CostScenario::Binary) {
            // It could run in qemu, but the memory would be qemu's.
            let why = "on this machine only its file is measured";
            report.skip(scenario, &format!("a program for {processor}: {why}"), false);
            continue;
        }
        let mut repeat = |run: Scenario| plan.repeat(scenario, || run(plan, report));
        match (scenario, &place) {
            (CostScenario::Binary, _) => binary::measure(report, plan.extension)?,
            (CostScenario::Start, _) => repeat(rest::start)?,
            (CostScenario::Idle, _) => repeat(rest::idle)?,
            (CostScenario::Invocations, _) => repeat(rest::invocations)?,
            (CostScenario::SystemCalls, _) => repeat(system_calls::run)?,
            (CostScenario::Quiet, _) => quiet::run_all(plan, report)?,
            (CostScenario::OomEmf | CostScenario::OomTls | CostScenario::Child, Err(why)) => {
                report.skip(scenario, why.trim_end(), true);
            }
            (CostScenario::OomTls | CostScenario::Child, _) if !plan.has_network() => {
                report.skip(scenario, "this build has no network", false);
            }
            (CostScenario::OomEmf | CostScenario::OomTls, Ok(place)) => {
                plan.repeat(scenario, || {
                    request = oom::run(plan, scenario, place, report)?.or(request.take());
                    Ok(())
                })?;
            }
            (CostScenario::Child, Ok(_)) => match &request {
                Some(sent) => plan.repeat(scenario, || child::run(plan, sent, report))?,
                None => {
                    let why = "no child of the extension was seen that sent a request";
                    report.skip(scenario, why, plan.extension.ours);
                }
            },
        }
    }
    Ok(())
}

/// One run of a scenario.
type Scenario = fn(&Plan<'_>, &mut CostReport) -> io::Result<()>;

impl Plan<'_> {
    fn has_network(&self) -> bool {
        !(self.extension.ours && self.args.extension.build == Build::LayerEmf)
    }

    fn repeat(
        &self,
        scenario: CostScenario,
        mut run: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        log::info!("measuring: {}", scenario.name());
        let name = |error| io::Error::other(format!("{}: {error}", scenario.name()));
        (0..self.args.runs.repetitions).try_for_each(|_| run().map_err(name))
    }

    fn sandboxed(&self) -> Extension {
        Extension::new(&self.extension.path)
    }
}

/// Starts an environment with only this extension and no cgroup, and calls `run` with the
/// extension's pid.
pub(crate) fn with_extension<T>(
    extension: Extension,
    run: impl FnOnce(&mut Environment, u32) -> io::Result<T>,
) -> io::Result<T> {
    let mut environment = start_environment(Environment::builder().extension(extension))?;
    let pid = pid_of(&environment)?;
    let result = run(&mut environment, pid)?;
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(result)
}

/// Starts an environment whose init must succeed.
fn start_environment(builder: Builder) -> io::Result<Environment> {
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

/// The pid of the extension, which must be running.
fn pid_of(environment: &Environment) -> io::Result<u32> {
    environment.extension_pid().ok_or_else(gone)
}
