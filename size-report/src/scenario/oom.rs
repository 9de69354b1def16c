//! Measures the extension during a real out-of-memory kill of the function, until it has ended.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sandbox::{
    Behavior, Environment, Intake, IntakeAnswer, InvocationOutcome, Memory, ShutdownReason, Work,
};

use super::{At, Plan, micros, pid_of, start_environment};
use crate::figure::{self, CostScenario};
use crate::report::Report;
use crate::watch::{Child, Hurry, Watch, WatchResult};

/// A request that a child of the extension made.
#[derive(Clone, Debug)]
pub(super) struct SentRequest {
    pub(super) program: PathBuf,
    /// The child's arguments, its name first.
    pub(super) arguments: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// Without a network: the extension writes to standard output.
pub(super) fn emf(plan: &Plan<'_>, place: At<'_>, report: &mut Report) -> io::Result<()> {
    let killed = seen_to_the_end(|| kill(plan, place, None))?;
    killed.add(plan, report, CostScenario::OomEmf)?;
    Ok(())
}

/// With a network: the extension sends to a TLS intake. Returns the request of one of its children.
pub(super) fn tls(
    plan: &Plan<'_>,
    place: At<'_>,
    report: &mut Report,
) -> io::Result<Option<SentRequest>> {
    let killed = seen_to_the_end(|| {
        let intake = Intake::start()?;
        intake.answer_all(IntakeAnswer { delay: HOLD, ..IntakeAnswer::default() });
        kill(plan, place, Some(&intake))
    })?;
    killed.add(plan, report, CostScenario::OomTls)?;
    if killed.bodies.is_empty() && !plan.subject.ours {
        report.remark(
            "oom_tls: the extension sent nothing to Datadog's distribution points; \
             these are figures of an out-of-memory kill without a request",
        );
    }
    let (Some(child), Some(body)) = (killed.sender(), killed.bodies.first()) else {
        return Ok(None);
    };
    add_child(report, child);
    let (program, arguments) = (child.program.clone(), child.arguments.clone());
    Ok(Some(SentRequest { program, arguments, body: body.clone() }))
}

/// Repeats a run if this machine was too busy to read the processes until their end.
fn seen_to_the_end(mut run: impl FnMut() -> io::Result<OomRun>) -> io::Result<OomRun> {
    for _ in 1..TRIES {
        let killed = run()?;
        if killed.seen_to_the_end() {
            return Ok(killed);
        }
    }
    run()
}

/// Datadog's own variables, with the intake instead of Datadog.
pub(crate) fn variables(intake: &Intake) -> [(String, String); 3] {
    let file = intake.ca_file().to_string_lossy().into_owned();
    [("DD_API_KEY", "sandbox".into()), ("DD_URL", intake.https_url()), ("SSL_CERT_FILE", file)]
        .map(|(name, value)| (name.to_string(), value))
}

/// One run with a kill.
struct OomRun {
    watched: WatchResult,
    /// How often the extension counted it.
    counted: f64,
    /// The requests that the intake got.
    bodies: Vec<Vec<u8>>,
    extension_died: bool,
    /// What the kernel killed, if it was not the function.
    another: Option<String>,
}

fn kill(plan: &Plan<'_>, place: At<'_>, intake: Option<&Intake>) -> io::Result<OomRun> {
    let mut extension = plan.extension();
    extension.variables.extend(intake.into_iter().flat_map(variables));
    let hurry = Hurry::default();
    let at_shutdown = hurry.clone();
    let builder = Environment::builder()
        .memory(Memory::Limited(place.clone()))
        .memory_mb(plan.args.memory)
        .extension(extension)
        .timeout(Duration::from_secs(60))
        .on_shutdown(move || at_shutdown.now());
    let mut environment = start_environment(builder)?;
    let watch = Watch::start(pid_of(&environment)?, hurry);
    let work = Work::new(Behavior::Grow).lines(["about to grow", "{id} growing"]);
    let outcome = environment.invoke(&work.payload());
    let watched = watch.finish();
    let outcome = outcome?;
    environment.shutdown(ShutdownReason::Spindown)?;
    let requests = intake.map(Intake::requests).unwrap_or_default();
    Ok(OomRun {
        watched,
        counted: intake
            .map_or_else(|| sandbox::count_emf(&environment.extension_lines()), Intake::points),
        bodies: requests.into_iter().map(|request| request.body).collect(),
        extension_died: died(&outcome),
        another: (!outcome.function_killed()).then(|| outcome.killed()),
    })
}

/// The kernel killed the extension, or it did not end by itself.
fn died(outcome: &InvocationOutcome) -> bool {
    let well = |exit: &Option<std::process::ExitStatus>| exit.is_some_and(|exit| exit.success());
    outcome.extension_killed() || !outcome.extension_exits.iter().all(|(_, exit)| well(exit))
}

impl OomRun {
    fn add(&self, plan: &Plan<'_>, report: &mut Report, scenario: CostScenario) -> io::Result<()> {
        if let Some(problem) = self.problem() {
            if plan.subject.ours {
                return Err(io::Error::other(problem));
            }
            report.remark(format!("{}: {problem}", scenario.name()));
        }
        let counted = self.counted;
        if plan.subject.ours && counted != 1.0 {
            return Err(io::Error::other(format!("the agent counted {counted} kills of 1")));
        }
        let process = &self.watched.process;
        let (Some(last), Some(most)) = (process.last, process.most) else {
            return Err(io::Error::other("the extension could not be read"));
        };
        report.add(scenario, figure::VM_HWM, most.vm_hwm_kb);
        report.add(scenario, figure::RSS_LAST, last.vm_rss_kb);
        report.add(scenario, figure::RSS_ANON_MOST, most.rss_anon_kb);
        report.add(scenario, figure::PAGE_TABLES, most.page_tables_kb);
        report.add(scenario, figure::THREADS, most.threads);
        report.add(scenario, figure::CHILDREN, self.watched.children.len());
        report.add(scenario, figure::COUNTED, whole(self.counted));
        report.add(scenario, figure::UNSEEN, micros(process.unseen));
        Ok(())
    }
}

impl OomRun {
    /// A problem that no extension may have.
    fn problem(&self) -> Option<String> {
        if let Some(another) = &self.another {
            return Some(format!("the kernel killed {another}, not the function"));
        }
        let problem = "the extension was killed, or did not end by itself in SHUTDOWN";
        self.extension_died.then(|| problem.to_string())
    }

    /// The child that made a request: the first program with arguments.
    fn sender(&self) -> Option<&Child> {
        self.watched.children.iter().find(|child| child.arguments.len() > 1)
    }

    fn seen_to_the_end(&self) -> bool {
        let children = self.watched.children.iter().map(|child| child.seen.unseen);
        let longest = children.chain([self.watched.process.unseen]).max();
        longest.is_none_or(|longest| longest < UNSEEN_MAX)
    }
}

fn add_child(report: &mut Report, child: &Child) {
    let Some(most) = child.seen.most else { return };
    for (figure, value) in [
        (figure::VM_HWM, most.vm_hwm_kb),
        (figure::RSS_ANON_MOST, most.rss_anon_kb),
        (figure::PAGE_TABLES, most.page_tables_kb),
        (figure::THREADS, most.threads),
    ] {
        report.add(CostScenario::Child, figure, value);
    }
    report.add(CostScenario::Child, figure::UNSEEN, micros(child.seen.unseen));
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
