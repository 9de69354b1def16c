//! The scenarios. Each runs an extension in the sandbox once and adds its figures to a report.
//!
//! In: an extension, and how often each scenario runs. Out: values in a [`CostReport`]. A scenario
//! that cannot run here says why. If the agent does not behave as it should, that is an error.

pub(crate) mod child;
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
use crate::build::ExtensionFile;
use crate::figure::CostScenario;
use crate::report::CostReport;
use oom::SentRequest;

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
    let place = place.as_ref().map_err(|why| why.trim_end());
    let mut request = None;
    for &scenario in CostScenario::all() {
        match (scenario, foreign) {
            // It could run in qemu, but the memory would be qemu's.
            (_, Some(processor)) if scenario != CostScenario::Binary => {
                let reason =
                    format!("a program for {processor}: on this machine only its file is measured");
                report.skip(scenario, &reason, false);
            }
            _ => plan.run(scenario, place, &mut request, report)?,
        }
    }
    Ok(())
}

impl Plan<'_> {
    /// Runs one scenario. `oom_tls` keeps the request of the extension's child in `request`, and
    /// `child` sends it again.
    fn run(
        &self,
        scenario: CostScenario,
        place: Result<&Place, &str>,
        request: &mut Option<SentRequest>,
        report: &mut CostReport,
    ) -> io::Result<()> {
        match scenario {
            CostScenario::Binary => binary::measure(report, self.extension),
            CostScenario::Start => self.repeat(scenario, || start::run(self, report)),
            CostScenario::Idle => self.repeat(scenario, || idle::run(self, report)),
            CostScenario::Invocations => self.repeat(scenario, || invocations::run(self, report)),
            CostScenario::SystemCalls => self.repeat(scenario, || system_calls::run(self, report)),
            CostScenario::Quiet => quiet::run_all(self, report),
            CostScenario::OomEmf => match place {
                Ok(place) => self.repeat(scenario, || oom::emf(self, place, report)),
                Err(why) => skip(report, scenario, why, true),
            },
            CostScenario::OomTls => match place {
                Ok(_) if !self.has_network() => skip(report, scenario, NO_NETWORK, false),
                Ok(place) => self.repeat(scenario, || {
                    *request = oom::tls(self, place, report)?.or(request.take());
                    Ok(())
                }),
                Err(why) => skip(report, scenario, why, true),
            },
            CostScenario::Child => match (place, request) {
                (Ok(_), _) if !self.has_network() => skip(report, scenario, NO_NETWORK, false),
                (Ok(_), Some(sent)) => self.repeat(scenario, || child::run(self, sent, report)),
                (Ok(_), None) => skip(report, scenario, NO_CHILD, self.extension.ours),
                (Err(why), _) => skip(report, scenario, why, true),
            },
        }
    }

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

    /// Starts an environment with only the extension. It has no cgroup.
    fn start_environment(&self) -> io::Result<Environment> {
        start_environment(Environment::builder().extension(self.sandboxed()))
    }

    fn sandboxed(&self) -> Extension {
        Extension::new(&self.extension.path)
    }
}

fn skip(
    report: &mut CostReport,
    scenario: CostScenario,
    why: &str,
    lacking: bool,
) -> io::Result<()> {
    report.skip(scenario, why, lacking);
    Ok(())
}

const NO_NETWORK: &str = "this build has no network";
const NO_CHILD: &str = "no child of the extension was seen that sent a request";

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

/// The pid of the extension, which must be running.
pub(crate) fn pid_of(environment: &Environment) -> io::Result<u32> {
    environment.extension_pid().ok_or_else(gone)
}

fn micros(duration: Duration) -> u128 {
    duration.as_micros()
}

pub(crate) fn gone() -> io::Error {
    io::Error::other("the extension ended by itself")
}
