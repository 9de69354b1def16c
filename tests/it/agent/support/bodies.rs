//! The telemetry that the tests post, written in the scenario language
//! (`tests/support/scenario.rs`).

use oom_witness_tests::{EventScript, ScriptStep};

/// An invocation that surely runs out of memory: one metric.
pub(in crate::agent) const OOM: &str = "
    100 start A
    200 done A error Runtime.OutOfMemory
    210 report A error 192/192 Runtime.OutOfMemory";

/// The bodies of a scenario, as Lambda would post them.
pub(in crate::agent) fn bodies(scenario: &str) -> Vec<String> {
    let steps = EventScript::parse(scenario).steps;
    let bodies = steps.split(|step| *step == ScriptStep::NextBody);
    let event = |step: &ScriptStep| match step {
        ScriptStep::Event(event) => event.clone(),
        other => panic!("not an event: {other:?}"),
    };
    let body = |steps: &[ScriptStep]| {
        format!("[{}]", steps.iter().map(event).collect::<Vec<_>>().join(","))
    };
    bodies.map(body).collect()
}

/// The body of [`OOM`].
pub(in crate::agent) fn oom_body() -> String {
    oom_body_of("A")
}

/// The body of [`OOM`], for the invocation with this request id.
pub(in crate::agent) fn oom_body_of(id: &str) -> String {
    bodies(&OOM.replace(" A", &format!(" {id}"))).remove(0)
}

/// The events of [`OOM`], each in a body of its own.
pub(in crate::agent) fn oom_in_three_bodies() -> Vec<String> {
    let mut bodies = bodies(&OOM.replace('\n', "\n--\n"));
    bodies.retain(|body| body != "[]");
    bodies
}

/// One of many invocations that run out of memory. This one has the number `number` and starts
/// `number * apart_ms` after the epoch of tests.
pub(in crate::agent) fn numbered_oom(number: usize, apart_ms: usize) -> String {
    let at = number * apart_ms;
    format!(
        "{at} start r{number}
         {} done r{number} error Runtime.OutOfMemory
         {} report r{number} error 192/192 Runtime.OutOfMemory\n",
        at + 2,
        at + 3
    )
}
