//! `sandbox demo`: shows the main job.

use super::args::Demo;
use super::case::{Case, CaseOutcome};
use super::progress::Progress;
use super::table::{memory, table};
use super::{At, Result, build, set_up};
use crate::env::Memory;
use crate::runtimes::Runtime;
use crate::work::{Behavior, Work};

pub(super) fn main(demo: &Demo, place: At<'_>) -> Result {
    let extension = build::extension(demo.extension.as_ref())?;
    let progress = Progress::new();
    let mut complete = true;
    let case = |runtime, workers| {
        let mut case = Case::new(runtime, extension.clone(), demo.memory);
        case.payloads = vec![Work::new(Behavior::Grow).workers(workers).payload()];
        case
    };
    let mut cases = vec![
        ("built-in, 1 process".to_string(), case(None, 1)),
        ("built-in, 16 processes".to_string(), case(None, 16)),
    ];
    // The setup of the others takes minutes, and one runtime shows as much as all.
    let shown = |name: &String| name == "python" || Runtime::is_ready(name);
    for name in Runtime::all().into_iter().filter(shown) {
        if let Some(runtime) = set_up(&name, &progress, &mut complete) {
            cases.push((name, case(Some(runtime), 1)));
        }
    }
    let mut rows = table(&[
        "Function",
        "It",
        "The kernel killed",
        "The agent said",
        "Count",
        "Agent, KiB: RSS / RssAnon / VmHWM",
    ]);
    for (name, case) in cases {
        let task = progress.spinner(&name);
        let steps = task.clone();
        let ended = case.run(Memory::Limited(place.clone()), move |step| steps.says(step))?;
        let problem = problem(&ended);
        complete &= problem.is_none();
        task.ends(problem.as_deref().unwrap_or("counted once, agent alive"));
        rows.add_row([
            format!("{name}\n{} MB", case.memory_mb),
            did(&ended),
            ended
                .outcomes
                .first()
                .map(crate::outcome::InvocationOutcome::killed)
                .unwrap_or_default(),
            ended.sentence(),
            ended.count.to_string(),
            memory(ended.peak),
        ]);
    }
    println!("{rows}");
    Ok(complete)
}

/// The problem after one kill, if there is one.
fn problem(ended: &CaseOutcome) -> Option<String> {
    if let Some(why) = ended.extension_died() {
        return Some(format!("the agent died: {why}"));
    }
    if !ended.function_killed() {
        return Some("the kernel did not kill the function".into());
    }
    (!ended.counted(1)).then(|| format!("counted {} times", ended.count))
}

fn did(ended: &CaseOutcome) -> String {
    let Some(outcome) = ended.outcomes.first() else { return "nothing".into() };
    let exit = outcome.runtime_exit.map(crate::outcome::describe);
    let exit = exit.unwrap_or_else(|| outcome.status.name().to_string());
    let kind = outcome.error_type.as_deref().unwrap_or("no errorType");
    format!("grew until {exit}\n{kind}, {:.0} ms", outcome.duration.as_secs_f64() * 1000.0)
}
