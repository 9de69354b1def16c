//! `sandbox record`: runs a function once and records what its extension received.
//!
//! In: the arguments of `run`. Out: a recording, see [`crate::recording`].

use std::fs;
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{Label, Record};
use super::case::{Case, CaseOutcome};
use super::machine::Machine;
use super::progress::{Progress, Task};
use super::{Result, run};
use crate::env::Memory;
use crate::identity::InitializationType;
use crate::outcome::{InvocationOutcome, Status};
use crate::recording::{RecordingHeader, RecordingLine};
use crate::scenario::{ExpectedOutcome, Scenario};

/// A run and its recording.
pub(super) struct NewRecording {
    pub(super) ended: CaseOutcome,
    /// `attempts` of its first line.
    pub(super) attempts: Vec<Value>,
    /// The difference from the expected outcome. There is then no file.
    pub(super) problem: Option<String>,
}

/// What a suite expects of a run without a scenario.
pub(super) struct Expectation<'a> {
    pub(super) about: &'a str,
    pub(super) expected: &'a ExpectedOutcome,
}

pub(super) fn main(record: &Record, memory: Memory) -> Result {
    let task = Progress::new().spinner(&record.file.to_string_lossy());
    let how = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let recorded = write(record, memory, None, &format!("sandbox {how}"), &task)?;
    task.ends(recorded.problem.as_deref().unwrap_or("recorded"));
    for attempt in &recorded.attempts {
        println!("{attempt}");
    }
    println!("count {}", recorded.ended.count);
    Ok(recorded.problem.is_none())
}

/// Runs, and writes the file if the outcome is as expected.
pub(super) fn write(
    record: &Record,
    memory: Memory,
    known: Option<&Expectation<'_>>,
    how: &str,
    task: &Task,
) -> io::Result<NewRecording> {
    let (case, scenario) = run::case(&record.run)?;
    let steps = task.clone();
    let ended = case.run(memory, move |step| steps.says(step))?;
    // Another extension may change the scenario's outcome.
    let alone = scenario.as_ref().filter(|_| record.run.beside.is_none());
    let problem = match (ended.outcomes.first(), known, alone) {
        (None, ..) => Some("no invocation".into()),
        (Some(first), Some(known), _) => known.expected.problem(first),
        (Some(first), None, Some(scenario)) => scenario.problem(first),
        (Some(_), None, None) => None,
    };
    let attempts = attempts(record, scenario.as_ref(), &ended);
    if problem.is_none() {
        let about = known.map(|known| known.about);
        let about = about.or(scenario.as_ref().map(|scenario| scenario.about.as_str()));
        let header = RecordingHeader {
            how: how.into(),
            runtime: runtime(&case),
            memory_mb: Some(case.memory_mb),
            initialization_type: case.initialization_type().name().into(),
            date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
            about: about.unwrap_or_default().into(),
            attempts: attempts.clone(),
            variables: case.variables.clone(),
        };
        let machine = Machine::new(case.runtime.as_ref(), &ended.folder);
        fs::write(&record.file, machine.leave_out(&text(&header, &ended)))?;
    }
    Ok(NewRecording { ended, attempts, problem })
}

fn text(header: &RecordingHeader, ended: &CaseOutcome) -> String {
    let header = json!(header).to_string();
    let lines = ended.recording.iter().map(RecordingLine::line);
    [header].into_iter().chain(lines).map(|line| line + "\n").collect()
}

fn runtime(case: &Case) -> String {
    let built_in = || format!("builtin (sandbox {})", env!("CARGO_PKG_VERSION"));
    case.runtime.as_ref().map_or_else(built_in, |runtime| runtime.versions())
}

/// One object for each attempt. An on-demand init and its invocation are one attempt, which ran out
/// of memory if either did. Any other init, and a restore, is an attempt of its own.
fn attempts(record: &Record, scenario: Option<&Scenario>, ended: &CaseOutcome) -> Vec<Value> {
    let said = match record.label {
        Some(label) => label.truth(),
        None => scenario.map(|scenario| scenario.expected.out_of_memory),
    };
    let truth = |(number, outcome): (usize, &InvocationOutcome)| {
        let asked = number == 0 || ended.same_payload(number);
        match (outcome.function_killed(), asked) {
            (true, _) => Some(true),
            (false, true) => said,
            // Later invocations with another payload succeed, crash or time out.
            (false, false) => Some(false),
        }
    };
    let each = ended.outcomes.iter().enumerate();
    let mut attempts: Vec<Value> =
        each.map(|(number, outcome)| attempt(outcome, truth((number, outcome)))).collect();
    if ended.init.status == Status::Success {
        return attempts;
    }
    // The sandbox makes this errorType from the counter and the signal, so it is the truth.
    let killed = ended.init.error_type.as_deref() == Some("Runtime.OutOfMemory");
    let mut init = json!({
        "status": ended.init.status.name(),
        "error_type": ended.init.error_type,
        "killed": if killed { "function" } else { "nobody" },
        "oom_kills": ended.init.oom_kills,
    });
    let is_own = record.run.initialization != InitializationType::OnDemand;
    match attempts.first_mut().filter(|_| !is_own) {
        Some(first) => {
            first["init"] = init;
            if killed {
                first["out_of_memory"] = Value::from(true);
            }
        }
        None => {
            let truth = record.init_label.and_then(Label::truth);
            init["phase"] = Value::from(if ended.init.in_restore { "restore" } else { "init" });
            init["out_of_memory"] = if killed { Value::from(true) } else { Value::from(truth) };
            attempts.insert(0, init);
        }
    }
    attempts
}

fn attempt(outcome: &InvocationOutcome, out_of_memory: Option<bool>) -> Value {
    json!({
        "request_id": outcome.request_id,
        "status": outcome.status.name(),
        "error_type": outcome.error_type,
        "killed": outcome.killed(),
        "oom_kills": outcome.oom_kills,
        "out_of_memory": out_of_memory,
    })
}
