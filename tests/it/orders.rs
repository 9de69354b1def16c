//! Exactly once in every order: each order of the events of a failing and a succeeding invocation,
//! each repetition, and a restart at each point.
//!
//! The expectation does not come from core. Each event belongs to an attempt, and an attempt counts
//! once if any of its events is evidence. Random events are in `worlds`.

use oom_witness_core::Settings;
use oom_witness_tests::{EventScript, ScriptStep, run};

const FATAL: &str =
    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";

/// A failing invocation A and a succeeding one B after it, with one choice of evidence on A.
struct EvidenceCase {
    events: Vec<ScriptStep>,
    /// How many detections it must give.
    expected: usize,
}

fn cases() -> Vec<EvidenceCase> {
    let lines = [
        None,
        Some(format!("110 log {FATAL}")),
        Some(r#"110 json {"requestId":"A","message":"a MemoryError","logger":"root"}"#.to_owned()),
        Some("110 log caught a MemoryError".to_owned()),
        // A line may arrive before or after the runtime's end.
        Some(format!("125 log {FATAL}")),
    ];
    let ends = [
        "120 done A error Runtime.OutOfMemory",
        "120 done A error Runtime.ExitError",
        "120 done A timeout",
    ];
    let reports = [
        "210 report A error 128/128",
        "190 report A error 90/128",
        "190 report A error 128/128 Runtime.OutOfMemory",
    ];
    let mut cases = Vec::new();
    for line in &lines {
        for end in ends {
            for report in reports {
                let text = format!(
                    "100 start A\n{end}\n{report}\n200 start B\n220 done B success\n330 report B success 60/128\n{}",
                    line.as_deref().unwrap_or("")
                );
                let is_evidence =
                    line.is_some() || end.contains("OutOfMemory") || report.contains("128/128");
                cases.push(EvidenceCase {
                    events: EventScript::parse(&text).steps,
                    expected: usize::from(is_evidence),
                });
            }
        }
    }
    cases
}

/// Calls `visit` with every order of `items` (Heap's algorithm).
fn permutations<T>(items: &mut [T], len: usize, visit: &mut dyn FnMut(&[T])) {
    if len <= 1 {
        return visit(items);
    }
    for at in 0..len {
        permutations(items, len - 1, visit);
        items.swap(if len.is_multiple_of(2) { at } else { 0 }, len - 1);
    }
}

fn check(steps: Vec<ScriptStep>, expected: usize) {
    let scenario = EventScript { steps };
    let lines = run(&scenario, Settings::default()).lines();
    // At SHUTDOWN, a line without a known attempt counts for the environment.
    let is_right = |line: &&str| line.starts_with("A ") || line.starts_with("environment ");
    let right = lines.lines().filter(is_right).count();
    assert_eq!(
        (lines.lines().count(), right),
        (expected, expected),
        "{lines}\n{:#?}",
        scenario.steps
    );
}

fn spindown() -> ScriptStep {
    ScriptStep::Shutdown("spindown".to_owned())
}

#[test]
fn every_order_counts_once() {
    for case in cases() {
        let mut events = case.events.clone();
        let len = events.len();
        permutations(&mut events, len, &mut |order| {
            let mut steps = order.to_vec();
            steps.push(spindown());
            check(steps, case.expected);
        });
    }
}

#[test]
fn every_repetition_counts_once() {
    for case in cases() {
        for repeated in 0..case.events.len() {
            for at in repeated + 1..=case.events.len() {
                let mut steps = case.events.clone();
                steps.insert(at, case.events[repeated].clone());
                steps.push(spindown());
                check(steps, case.expected);
            }
        }
        // Everything comes twice, as when a batch is sent again.
        let mut steps = case.events.clone();
        steps.push(ScriptStep::NextBody);
        steps.extend(case.events.clone());
        steps.push(spindown());
        check(steps, case.expected);
    }
}

/// The orders in which Lambda can deliver the events. The platform events of an invocation keep
/// their order, and A is before B. A's report comes at any time after its end, and its line at any
/// time.
fn deliverable_orders(case: &EvidenceCase) -> Vec<Vec<ScriptStep>> {
    let [start_a, end_a, report_a, start_b, end_b, report_b, line @ ..] = case.events.as_slice()
    else {
        panic!("not six platform events and perhaps a line");
    };
    let fixed = [start_a, end_a, start_b, end_b, report_b];
    let mut orders = Vec::new();
    for report_at in 2..=fixed.len() {
        let mut order: Vec<ScriptStep> = fixed.iter().map(|step| (*step).clone()).collect();
        order.insert(report_at, report_a.clone());
        let places = if line.is_empty() { 0..=0 } else { 0..=order.len() };
        for line_at in places {
            let mut order = order.clone();
            order.splice(line_at..line_at, line.iter().cloned());
            orders.push(order);
        }
    }
    orders
}

#[test]
fn a_restart_at_every_point_counts_once() {
    let shutdowns = [None, Some("spindown"), Some("failure")];
    for case in cases() {
        for order in deliverable_orders(&case) {
            for at in 0..=order.len() {
                for shutdown in shutdowns {
                    let mut steps = order.clone();
                    let end = shutdown.map(|reason| ScriptStep::Shutdown(reason.to_owned()));
                    steps.splice(at..at, end.into_iter().chain([ScriptStep::Restart]));
                    steps.push(spindown());
                    check(steps, case.expected);
                }
            }
        }
    }
}

#[test]
fn telemetry_delivered_again_after_a_restart_counts_once() {
    for case in cases() {
        for order in deliverable_orders(&case) {
            for at in 0..=order.len() {
                for repeated in 0..at {
                    let mut steps = order.clone();
                    steps.splice(at..at, [ScriptStep::Restart, order[repeated].clone()]);
                    steps.push(spindown());
                    check(steps, case.expected);
                }
            }
        }
    }
}

#[test]
fn every_split_into_bodies_counts_once() {
    for case in cases() {
        for order in deliverable_orders(&case) {
            for cuts in 0..1_u32 << (order.len() - 1) {
                let mut steps = Vec::new();
                for (index, step) in order.iter().enumerate() {
                    steps.push(step.clone());
                    if cuts >> index & 1 == 1 {
                        steps.push(ScriptStep::NextBody);
                    }
                }
                steps.push(spindown());
                check(steps, case.expected);
            }
        }
    }
}

/// Two successful invocations, each near the limit. Either of them warns, and the other does not.
const NEAR_THE_LIMIT: &str = "100 start A
    120 done A success
    130 report A success 120/128
    200 start B
    220 done B success
    230 report B success 127/128";

fn check_one_warning(steps: Vec<ScriptStep>) {
    let settings = Settings { high_water_percent: Some(90), ..Settings::default() };
    let scenario = EventScript { steps };
    let lines = run(&scenario, settings).lines();
    let is_warning = |line: &str| line == "A high_water 120/128" || line == "B high_water 127/128";
    assert!(is_warning(&lines), "{lines}\n{:#?}", scenario.steps);
    assert_eq!(run(&scenario, Settings::default()).lines(), "", "it is off by default");
}

#[test]
fn every_order_near_the_limit_warns_once() {
    let mut events = EventScript::parse(NEAR_THE_LIMIT).steps;
    let len = events.len();
    permutations(&mut events, len, &mut |order| check_one_warning(order.to_vec()));
}

#[test]
fn a_restart_or_a_repetition_at_every_point_near_the_limit_warns_once() {
    let events = EventScript::parse(NEAR_THE_LIMIT).steps;
    for at in 0..=events.len() {
        for repeated in 0..=at.min(events.len() - 1) {
            let again = events[repeated].clone();
            for steps in [vec![again.clone()], vec![ScriptStep::Restart, again]] {
                let mut all = events.clone();
                all.splice(at..at, steps);
                check_one_warning(all);
            }
        }
    }
}
