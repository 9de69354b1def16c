//! `sandbox run`: runs one function beside one extension, and shows everything.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::args::{Run, Sink};
use super::case::{Case, CaseOutcome};
use super::progress::Progress;
use super::table::{memory as figures, table};
use super::{Result, build};
use crate::clock;
use crate::env::Memory;
use crate::runtimes::Runtime;
use crate::scenario::Scenario;
use crate::work::Behavior;

pub(super) fn main(run: &Run, memory: Memory) -> Result {
    let (case, _) = case(run)?;
    let progress = Progress::new();
    let task = progress.spinner(&run.runtime);
    let steps = task.clone();
    let ended = case.run(memory, move |step| steps.says(step))?;
    let died = ended.extension_died();
    let expected = run.expect.is_none_or(|expected| ended.counted(expected));
    task.ends(&format!("counted {}", ended.count));
    show(&ended, case.sink);
    if let Some(why) = &died {
        eprintln!("the extension died: {why}");
    }
    if !expected {
        eprintln!("expected a count of {}", run.expect.unwrap_or_default());
    }
    Ok(died.is_none() && expected)
}

/// The case of these arguments, set up and built, and the scenario that they name.
pub(super) fn case(run: &Run) -> io::Result<(Case, Option<Scenario>)> {
    let runtime = match run.runtime.as_str() {
        "builtin" | "built-in" => {
            <Behavior as clap::ValueEnum>::from_str(&run.behavior, true)
                .map_err(io::Error::other)?;
            None
        }
        name => Some(Runtime::ready(name, |step| log::info!("{name}: {step}"))?),
    };
    let mut case = Case::new(runtime, build::extension(run.extension.as_ref())?, run.memory);
    let scenario = match &run.scenario {
        Some(name) => Some(scenario(case.runtime.as_ref(), name)?),
        None => None,
    };
    case.payloads = payloads(run, scenario.as_ref());
    case.beside = run.beside.as_deref().map(build::beside).transpose()?;
    case.managed = run.managed;
    case.retry = run.retry;
    case.log_format = run.log_format;
    let timeout = run.timeout.or(scenario.as_ref().map(|entry| entry.timeout));
    case.timeout = Duration::from_secs(timeout.unwrap_or(30));
    if let Some(entry) = &scenario {
        case.function_variables.clone_from(&entry.variables);
    }
    case.function_variables.extend(run.function_variables.iter().cloned());
    case.sink = run.sink;
    case.switches = run.switches.clone();
    case.initialization_type = run.initialization;
    case.faults.clone_from(&run.faults);
    case.variables.clone_from(&run.variables);
    Ok((case, scenario))
}

/// The payload of each invocation. Those after the first may have another behavior.
fn payloads(run: &Run, scenario: Option<&Scenario>) -> Vec<String> {
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
    let others = std::iter::repeat_n(then, run.invocations.saturating_sub(1) as usize);
    std::iter::once(first).chain(others).take(run.invocations as usize).collect()
}

fn scenario(runtime: Option<&Runtime>, name: &str) -> io::Result<Scenario> {
    let all = runtime.map(Runtime::scenarios).transpose()?.unwrap_or_default();
    let names: Vec<_> = all.iter().map(|entry| entry.name.clone()).collect();
    let known = names.join(", ");
    all.into_iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| io::Error::other(format!("no scenario {name}, there are: {known}")))
}

fn show(ended: &CaseOutcome, sink: Sink) {
    let mut rows =
        table(&["Invocation", "Status", "errorType", "The kernel killed", "MB used", "ms"]);
    for outcome in &ended.outcomes {
        rows.add_row([
            outcome.request_id.clone(),
            outcome.status.name().to_string(),
            outcome.error_type.clone().unwrap_or_default(),
            outcome.killed(),
            outcome.max_memory_used_mb.to_string(),
            format!("{:.0}", clock::ms(outcome.duration)),
        ]);
    }
    println!("{rows}");
    for line in &ended.function_lines {
        println!("function  {}", line.text);
    }
    for line in &ended.lines {
        println!("extension {}", line.text);
    }
    if sink != Sink::Emf {
        for request in &ended.requests {
            let body = String::from_utf8_lossy(&request.body);
            println!("intake    {} {} {} {body}", request.status, request.method, request.path);
        }
    }
    println!("count     {}", ended.count);
    println!("agent     {} KiB (RSS / RssAnon / VmHWM)", figures(ended.peak));
}
