//! `sandbox record`: runs a function once and records what its extension received.
//!
//! In: the arguments of `run`. Out: a recording, see [`crate::recording`].

use std::fs;
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Result;
use super::args::{Label, RecordArgs};
use super::case::{Case, CaseOutcome};
use super::cell::SuiteCase;
use super::machine::MachineFolders;
use crate::env::Memory;
use crate::identity::InitializationType;
use crate::outcome::{InitOutcome, InvocationOutcome, Status};
use crate::recording::{RecordingHeader, RecordingLine};

/// A run and its recording.
pub(super) struct NewRecording {
    pub(super) outcome: CaseOutcome,
    /// `attempts` of its first line.
    pub(super) attempts: Vec<Value>,
    /// The difference from the expected outcome. There is then no file.
    pub(super) problem: Option<String>,
}

pub(super) fn main(record: &RecordArgs, memory: &Memory) -> Result {
    let how = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let recorded = write(record, memory, None, &format!("sandbox {how}"))?;
    if let Some(problem) = &recorded.problem {
        eprintln!("not recorded: {problem}");
    }
    for attempt in &recorded.attempts {
        println!("{attempt}");
    }
    println!("count {}", recorded.outcome.count);
    Ok(recorded.problem.is_none())
}

/// Runs, and writes the file if the outcome is as expected: as a suite says it, or the scenario.
pub(super) fn write(
    record: &RecordArgs,
    memory: &Memory,
    of_suite: Option<&SuiteCase>,
    how: &str,
) -> io::Result<NewRecording> {
    let case = Case::new(&record.run)?;
    let outcome = case.run(memory)?;
    let scenario = case.scenario.as_ref();
    let problem = match (outcome.outcomes.first(), of_suite, scenario) {
        (None, ..) => Some("no invocation".into()),
        (Some(first), Some(of_suite), _) => of_suite.expected.problem(first),
        // Another extension may change the scenario's outcome.
        (Some(first), None, Some(scenario)) if record.run.beside.is_none() => {
            scenario.problem(first)
        }
        (Some(_), None, _) => None,
    };
    let truth = scenario.map(|scenario| scenario.expected.out_of_memory);
    let attempts = attempts(record, truth, &outcome);
    if problem.is_none() {
        let about = of_suite.map(|of_suite| &of_suite.about);
        let about = about.or(scenario.map(|scenario| &scenario.about));
        let built_in = || format!("builtin (sandbox {})", env!("CARGO_PKG_VERSION"));
        let header = RecordingHeader {
            how: how.into(),
            runtime: case.runtime.as_ref().map_or_else(built_in, |runtime| runtime.versions()),
            memory_mb: Some(record.run.memory),
            initialization_type: case.initialization_type().name().into(),
            date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
            about: about.cloned().unwrap_or_default(),
            attempts: attempts.clone(),
            variables: record.run.variables.clone(),
        };
        let lines = outcome.environment.recording();
        let lines = lines.iter().map(RecordingLine::line);
        let lines = [json!(header).to_string()].into_iter().chain(lines);
        let text: String = lines.map(|line| line + "\n").collect();
        let machine = MachineFolders::new(case.runtime.as_ref(), outcome.environment.folder());
        fs::write(&record.file, machine.leave_out(&text))?;
    }
    Ok(NewRecording { outcome, attempts, problem })
}

/// One object for each attempt. An on-demand init and its invocation are one attempt, which ran out
/// of memory if either did. Any other init, and a restore, is an attempt of its own. `truth` is
/// whether the scenario runs out of memory.
fn attempts(record: &RecordArgs, truth: Option<bool>, case: &CaseOutcome) -> Vec<Value> {
    let truth = record.label.map_or(truth, Label::truth);
    let label = |(number, outcome): (usize, &InvocationOutcome)| {
        let has_payload = number == 0 || case.same_payload(number);
        match (outcome.function_killed(), has_payload) {
            (true, _) => Some(true),
            (false, true) => truth,
            // Later invocations with another payload succeed, crash or time out.
            (false, false) => Some(false),
        }
    };
    let each = case.outcomes.iter().enumerate();
    let mut attempts: Vec<Value> =
        each.map(|(number, outcome)| attempt(outcome, label((number, outcome)))).collect();
    let InitOutcome { status, error_type, oom_kills, in_restore, .. } = case.environment.init();
    if *status == Status::Success {
        return attempts;
    }
    // The sandbox makes this errorType from the counter and the signal, so it is the truth.
    let killed = error_type.as_deref() == Some("Runtime.OutOfMemory");
    let mut init = json!({
        "status": status.name(),
        "error_type": error_type,
        "killed": if killed { "function" } else { "nobody" },
        "oom_kills": oom_kills,
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
            init["phase"] = Value::from(if *in_restore { "restore" } else { "init" });
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
