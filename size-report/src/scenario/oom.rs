//! Measures the extension during a real out-of-memory kill of the function, until it has ended.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sandbox::{
    Behavior, Environment, Intake, IntakeAnswer, InvocationOutcome, Memory, Place, ProcStatus,
    ShutdownReason, Work,
};

use super::{Plan, pid_of, start_environment};
use crate::figure::{self, CostScenario};
use crate::report::CostReport;
use crate::watcher::{ChildReadings, ProcessReadings, Readings, watch_during};

/// A request that a child of the extension sent.
#[derive(Clone, Debug)]
pub(super) struct SentRequest {
    pub(super) program: PathBuf,
    /// The child's arguments. The first is its name.
    pub(super) arguments: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// One run. In `oom_emf` the extension writes to standard output. In `oom_tls` it sends to a TLS
/// intake, and this returns the request of its child.
pub(super) fn run(
    plan: &Plan<'_>,
    scenario: CostScenario,
    place: &Place,
    report: &mut CostReport,
) -> io::Result<Option<SentRequest>> {
    let killed = read_to_the_end(|| kill(plan, scenario, place))?;
    killed.add(plan, report, scenario)?;
    if scenario == CostScenario::OomTls && killed.bodies.is_empty() && !plan.extension.ours {
        report.remark(
            "oom_tls: the extension sent nothing to Datadog's distribution points, so these are \
             figures of an out-of-memory kill without a request",
        );
    }
    let (Some(child), Some(body)) = (killed.sender(), killed.bodies.first()) else {
        return Ok(None);
    };
    add_readings(report, CostScenario::Child, &child.readings);
    let (program, arguments) = (child.program.clone(), child.arguments.clone());
    Ok(Some(SentRequest { program, arguments, body: body.clone() }))
}

/// Repeats a run if this machine was too busy to read the processes until their end.
fn read_to_the_end(mut run: impl FnMut() -> io::Result<OomRun>) -> io::Result<OomRun> {
    for _ in 1..TRIES {
        let killed = run()?;
        if killed.read_to_the_end() {
            return Ok(killed);
        }
    }
    run()
}

/// Datadog's variables, which name the intake instead of Datadog.
pub(crate) fn variables(intake: &Intake) -> [(String, String); 3] {
    let file = intake.ca_file().to_string_lossy().into_owned();
    [("DD_API_KEY", "sandbox".into()), ("DD_URL", intake.https_url()), ("SSL_CERT_FILE", file)]
        .map(|(name, value)| (name.to_string(), value))
}

/// One run with a kill.
struct OomRun {
    readings: Readings,
    /// How often the extension counted the kill.
    counted: f64,
    /// The requests that the intake got.
    bodies: Vec<Vec<u8>>,
    /// A problem that no extension may have.
    problem: Option<String>,
}

fn kill(plan: &Plan<'_>, scenario: CostScenario, place: &Place) -> io::Result<OomRun> {
    let mut extension = plan.sandboxed();
    let intake = (scenario == CostScenario::OomTls).then(Intake::start).transpose()?;
    if let Some(intake) = &intake {
        intake.answer_all(IntakeAnswer { delay: HOLD, ..IntakeAnswer::default() });
        extension.variables.extend(variables(intake));
    }
    let hurry = Arc::new(AtomicBool::new(false));
    let at_shutdown = Arc::clone(&hurry);
    let builder = Environment::builder()
        .memory(Memory::Limited(place.clone()))
        .memory_mb(plan.args.memory)
        .extension(extension)
        .timeout(Duration::from_secs(60))
        .on_shutdown(move || at_shutdown.store(true, Ordering::Relaxed));
    let mut environment = start_environment(builder)?;
    let pid = pid_of(&environment)?;
    let work = Work::new(Behavior::Grow).lines(["about to grow", "{id} growing"]);
    let (readings, outcome) = watch_during(pid, &hurry, || environment.invoke(&work.payload()));
    let outcome = outcome?;
    environment.shutdown(ShutdownReason::Spindown)?;
    let (counted, requests) = match &intake {
        Some(intake) => (intake.points(), intake.requests()),
        None => (sandbox::count_emf(&environment.extension_lines()), Vec::new()),
    };
    let bodies = requests.into_iter().map(|request| request.body).collect();
    Ok(OomRun { readings, counted, bodies, problem: problem(&outcome) })
}

fn problem(outcome: &InvocationOutcome) -> Option<String> {
    let mut exits = outcome.extension_exits.iter().map(|(_, exit)| exit);
    if !outcome.function_killed() {
        Some(format!("the kernel killed {}, not the function", outcome.killed()))
    } else if outcome.extension_killed()
        || !exits.all(|exit| exit.is_some_and(|exit| exit.success()))
    {
        Some("the extension was killed, or did not end by itself in SHUTDOWN".into())
    } else {
        None
    }
}

impl OomRun {
    fn add(
        &self,
        plan: &Plan<'_>,
        report: &mut CostReport,
        scenario: CostScenario,
    ) -> io::Result<()> {
        if let Some(problem) = &self.problem {
            if plan.extension.ours {
                return Err(io::Error::other(problem.clone()));
            }
            report.remark(format!("{}: {problem}", scenario.name()));
        }
        let counted = self.counted;
        if plan.extension.ours && counted != 1.0 {
            return Err(io::Error::other(format!("the agent counted {counted} kills of 1")));
        }
        let last = add_readings(report, scenario, &self.readings.process)
            .ok_or_else(|| io::Error::other("the extension could not be read"))?;
        report.add(scenario, figure::RSS_LAST, last.vm_rss_kb);
        report.add(scenario, figure::CHILDREN, self.readings.children.len());
        report.add(scenario, figure::COUNTED, whole(counted));
        Ok(())
    }

    /// The child that sent a request: the first one with arguments.
    fn sender(&self) -> Option<&ChildReadings> {
        self.readings.children.iter().find(|child| child.arguments.len() > 1)
    }

    fn read_to_the_end(&self) -> bool {
        let children = self.readings.children.iter().map(|child| child.readings.unseen);
        let longest = children.chain([self.readings.process.unseen]).max();
        longest.is_none_or(|longest| longest < UNSEEN_MAX)
    }
}

/// Adds the figures of a process from its start to its end. Returns the last reading.
fn add_readings(
    report: &mut CostReport,
    scenario: CostScenario,
    readings: &ProcessReadings,
) -> Option<ProcStatus> {
    let most = readings.most?;
    for (figure, value) in [
        (figure::VM_HWM, most.vm_hwm_kb),
        (figure::RSS_ANON_MOST, most.rss_anon_kb),
        (figure::PAGE_TABLES, most.page_tables_kb),
        (figure::THREADS, most.threads),
    ] {
        report.add(scenario, figure, value);
    }
    report.add(scenario, figure::UNSEEN, readings.unseen.as_micros());
    readings.last
}

/// The count as a whole number.
fn whole(count: f64) -> i64 {
    format!("{count:.0}").parse().unwrap_or(i64::MAX)
}

/// Long enough for many readings of the child after its request, and shorter than any deadline.
const HOLD: Duration = Duration::from_millis(20);

/// A run is repeated if the last reading was longer than this before the end.
const UNSEEN_MAX: Duration = Duration::from_millis(2);

const TRIES: u32 = 4;
