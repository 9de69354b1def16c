//! `sandbox run`: one function beside one extension, told in full.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::args::{Run, Sink};
use super::case::{Case, Ended};
use super::progress::Progress;
use super::table::{memory as figures, table};
use super::{Result, build};
use crate::clock;
use crate::env::Memory;
use crate::fault::{Call, Fault};
use crate::runtimes::Runtime;
use crate::scenario::Scenario;
use crate::switches::{MemoryAfterKill, Switches};
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
    if run.json {
        println!("{}", ended.json());
    } else {
        show(&ended, case.sink);
    }
    if let Some(why) = &died {
        eprintln!("the extension died: {why}");
    }
    if !expected {
        eprintln!("expected a count of {}", run.expect.unwrap_or_default());
    }
    Ok(died.is_none() && expected)
}

/// What the arguments ask for, set up and built; with the scenario that they name.
pub(super) fn case(run: &Run) -> io::Result<(Case, Option<Scenario>)> {
    let runtime = match run.runtime.as_str() {
        "builtin" | "built-in" => {
            let known: std::result::Result<Behavior, _> =
                clap::ValueEnum::from_str(&run.behavior, true);
            known.map_err(io::Error::other)?;
            None
        }
        name => {
            let ready = Runtime::ready(name, |step| eprintln!("{name}: {step}"));
            let missing = |missing: crate::runtimes::Missing| {
                io::Error::other(format!("missing {}: {}", missing.what, missing.command))
            };
            Some(ready.map_err(missing)?)
        }
    };
    let mut case = Case::new(runtime, build::extension(run.extension.as_ref())?, run.memory);
    let scenario = match &run.scenario {
        Some(name) => Some(scenario(case.runtime.as_ref(), name)?),
        None => None,
    };
    let payload = |behavior: &str| {
        json!({
            "behavior": behavior, "workers": run.workers, "lines": run.lines,
            "mb": run.mb, "code": run.code, "repeat": run.repeat, "pause-ms": run.pause,
        })
        .to_string()
    };
    let asked =
        scenario.as_ref().map_or_else(|| payload(&run.behavior), |entry| entry.payload.clone());
    case.payloads = (0..run.invocations)
        .map(|number| {
            let succeed = run.then_succeed.then_some("succeed");
            let then = run.then.as_deref().or(succeed).filter(|_| number > 0);
            then.map_or_else(|| asked.clone(), &payload)
        })
        .collect();
    case.beside = run.beside.as_deref().map(build::beside).transpose()?;
    case.managed = run.managed;
    case.retry = run.retry;
    case.log_format = run.log_format;
    let timeout = run.timeout.or(scenario.as_ref().map(|entry| entry.timeout));
    case.timeout = Duration::from_secs(timeout.unwrap_or(30));
    if let Some(entry) = &scenario {
        case.function_variables.clone_from(&entry.variables);
    }
    case.sink = run.sink;
    case.switches = Switches {
        memory_after_kill: figure(&run.memory_after_kill)?,
        late_report: run.late_report,
        runtime_done: run.runtime_done,
        shutdown_flush: run.shutdown_flush,
        duplicate: run.duplicate,
        resend: !run.no_resend,
        trailing_newline: !run.no_newline,
        capital_reasons: run.capital_reasons,
        cut_at: run.cut_at,
        freeze: !run.no_freeze,
        shutdown_left: run.shutdown_left.map(Duration::from_millis),
        suppressed_init: run.suppressed_init,
        cold: run.cold,
        ..Switches::default()
    };
    case.initialization_type = run.initialization;
    for text in &run.function_variables {
        case.function_variables.push(variable(text)?);
    }
    case.faults = run.faults.iter().map(|text| fault(text)).collect::<io::Result<_>>()?;
    for text in &run.variables {
        case.variables.push(variable(text)?);
    }
    Ok((case, scenario))
}

/// `NAME=VALUE`
pub(super) fn variable(text: &str) -> io::Result<(String, String)> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| io::Error::other(format!("--env {text}: not NAME=VALUE")))?;
    Ok((name.to_string(), value.to_string()))
}

fn scenario(runtime: Option<&Runtime>, name: &str) -> io::Result<Scenario> {
    let all = runtime.map(Runtime::scenarios).transpose()?.unwrap_or_default();
    let names: Vec<_> = all.iter().map(|entry| entry.name.clone()).collect();
    let known = names.join(", ");
    all.into_iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| io::Error::other(format!("no scenario {name}, there are: {known}")))
}

/// `CALL=STATUS` or `CALL=STATUS:TIMES`; `broken` is a status.
fn fault(text: &str) -> io::Result<Fault> {
    let bad = || io::Error::other(format!("--fault {text}: not CALL=STATUS or CALL=STATUS:TIMES"));
    let (call, answer) = text.split_once('=').ok_or_else(bad)?;
    let (status, times) = answer.split_once(':').map_or((answer, None), |(s, t)| (s, Some(t)));
    let call = match call {
        "register" => Call::Register,
        "next" => Call::Next,
        "init-error" => Call::InitError,
        "exit-error" => Call::ExitError,
        "subscribe" => Call::Subscribe,
        _ => return Err(bad()),
    };
    let fault = match (call, status) {
        (_, "broken") => Fault::broken(call),
        (Call::Subscribe, "202") => Fault::telemetry_not_supported(),
        _ => Fault::new(call, status.parse().map_err(|_| bad())?),
    };
    match times {
        Some(times) => Ok(fault.times(times.parse().map_err(|_| bad())?)),
        None => Ok(fault),
    }
}

fn figure(text: &str) -> io::Result<MemoryAfterKill> {
    let below = text.strip_prefix("below:").and_then(|mb| mb.parse().ok());
    match (text, below) {
        ("equal", _) => Ok(MemoryAfterKill::Equal),
        ("peak", _) => Ok(MemoryAfterKill::Peak),
        (_, Some(mb)) => Ok(MemoryAfterKill::Below(mb)),
        _ => Err(io::Error::other(format!("{text}: neither below:N, equal nor peak"))),
    }
}

fn show(ended: &Ended, sink: Sink) {
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
