//! Random lives of an environment against the naive oracle.
//!
//! `OOM_WITNESS_SEED=n cargo test -p oom-witness-tests worlds` repeats one life;
//! `OOM_WITNESS_WORLDS=n` sets how many there are.

use std::collections::BTreeMap;

use fastrand::Rng;
use oom_witness_core::{InitializationType, Settings, Suspected};
use oom_witness_tests::{Scenario, Step, expected_counts, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What the core counts: how many attempts of each request id.
fn counts(steps: &[Step], settings: Settings) -> BTreeMap<String, usize> {
    let outcome = run(&Scenario { steps: steps.to_vec() }, settings);
    let mut counts = BTreeMap::new();
    for line in outcome.lines().lines() {
        let id = line.split(' ').next().unwrap_or_default();
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    counts
}

/// One invocation's events in the order of their times, as text of the scenario language.
fn invocation(rng: &mut Rng, number: usize, from_ms: u64) -> Vec<String> {
    // Lambda reuses an id when it retries.
    let id = format!("r{}", if rng.u8(..) < 30 { number.saturating_sub(1) } else { number });
    let start = from_ms + 20;
    let end = start + rng.u64(10..500);
    let mut events = Vec::new();
    if rng.u8(..) < 40 {
        let outcome = if rng.u8(..) < 60 { "error Runtime.OutOfMemory" } else { "success" };
        events.push(format!("{from_ms} initStart on-demand invoke"));
        events.push(format!("{} initDone on-demand invoke {outcome}", from_ms + 5));
        events.push(format!("{} initReport on-demand invoke {outcome}", from_ms + 6));
    }
    events.push(format!("{start} start {id}"));
    for _ in 0..rng.usize(..3) {
        // Behind the end too: the log and the runtime's end are not ordered against each other.
        let at = rng.u64(start..end + 8);
        events.push(match rng.u8(..5) {
            0 => format!("{at} log memory allocation of 5 bytes failed"),
            1 => format!("{at} log caught a MemoryError"),
            2 => format!(r#"{at} json {{"requestId":"{id}","message":"a MemoryError","logger":"x"}}"#),
            3 => format!(
                r#"{at} json {{"requestId":"{id}","level":"ERROR","errorType":"MemoryError","errorMessage":"","stackTrace":[]}}"#
            ),
            _ => format!("{at} kill"),
        });
    }
    let status = ["success", "success", "error", "timeout", "failure"][rng.usize(..5)];
    let error = if status == "error" && rng.bool() { " Runtime.OutOfMemory" } else { "" };
    events.push(format!("{end} done {id} {status}{error}"));
    if rng.u8(..) < 230 {
        let used = [60, 127, 128][rng.usize(..3)];
        events.push(format!("{} report {id} {status} {used}/128{error}", end + 9));
    }
    events
}

/// A life: invocations one after another; delivery late, repeated, in batches, across restarts.
fn life(rng: &mut Rng) -> Vec<Step> {
    let mut events = Vec::new();
    for number in 0..rng.usize(2..8) {
        let from_ms = 1000 * (1 + number as u64);
        for event in invocation(rng, number, from_ms) {
            events.push(event);
        }
    }
    let mut steps: Vec<Step> = Scenario::parse(&events.join("\n")).steps;
    for _ in 0..rng.usize(..6) {
        let from = rng.usize(..steps.len());
        delay(&mut steps, from, rng.usize(..6));
    }
    for _ in 0..rng.usize(..4) {
        let from = rng.usize(..steps.len());
        if matches!(steps[from], Step::Event(_)) {
            let to = rng.usize(from..=steps.len().min(from + 6));
            steps.insert(to, steps[from].clone());
        }
    }
    for _ in 0..rng.usize(..4) {
        let at = rng.usize(..=steps.len());
        steps.insert(at, if rng.bool() { Step::NextBody } else { Step::Restart });
    }
    steps.push(Step::Shutdown("spindown".to_owned()));
    steps
}

/// Up to 60 invocations of which many are open at once, on Managed Instances: reports without
/// figures, lines with ids at any place, lines without ids and kills near a failure or far from all.
fn managed_life(rng: &mut Rng) -> Vec<Step> {
    let mut timed: Vec<(u64, String)> = Vec::new();
    for number in 0..rng.u64(1..60) {
        let start = rng.u64(1000..300_000);
        // No two end in the same millisecond: which of them failed first would be nobody's to say.
        let end = (start + rng.u64(1..60_000)).next_multiple_of(64) + number;
        let id = format!("r{number}");
        timed.push((start, format!("{start} start {id}")));
        let outcome =
            ["success", "success", "success", "error", "failure", "timeout"][rng.usize(..6)];
        let error = if outcome == "error" && rng.bool() { " Runtime.OutOfMemory" } else { "" };
        timed.push((end, format!("{end} report {id} {outcome} -{error}")));
        if rng.u8(..) < 60 {
            let at = rng.u64(start..end);
            let line = match rng.u8(..2) {
                0 => format!(r#"{{"requestId":"{id}","message":"a MemoryError","logger":"x"}}"#),
                _ => format!(
                    r#"{{"requestId":"{id}","level":"ERROR","errorType":"MemoryError","errorMessage":"","stackTrace":[]}}"#
                ),
            };
            timed.push((at, format!("{at} json {line}")));
        }
    }
    for _ in 0..rng.usize(..6) {
        let at = rng.u64(12_000..360_000);
        let kinds = ["log memory allocation of 5 bytes failed", "log caught a MemoryError", "kill"];
        timed.push((at, format!("{at} {}", kinds[rng.usize(..kinds.len())])));
    }
    timed.sort();
    let text: Vec<String> = timed.into_iter().map(|(_, line)| line).collect();
    let mut steps = Scenario::parse(&text.join("\n")).steps;
    for _ in 0..rng.usize(..4) {
        let at = rng.usize(..steps.len());
        steps.insert(rng.usize(at..=steps.len()), steps[at].clone());
    }
    for _ in 0..rng.usize(..6) {
        steps.insert(rng.usize(..=steps.len()), Step::NextBody);
    }
    steps.push(Step::Shutdown("spindown".to_owned()));
    steps
}

/// Delivers a step later by up to `places`. Lines and kills may be overtaken by what happened within
/// 0.4 s, reports by anything but reports; other platform events keep their order.
fn delay(steps: &mut [Step], from: usize, places: usize) {
    let is = |step: &Step, kind: &str| matches!(step, Step::Event(event) if event.contains(kind));
    let is_report = |step: &Step| is(step, "platform.report");
    let is_platform = |step: &Step| is(step, "\"platform.") && !is_report(step);
    for at in from..(from + places).min(steps.len() - 1) {
        let (this, next) = (&steps[at], &steps[at + 1]);
        let in_order = is_platform(this) && is_platform(next) || is_report(this) && is_report(next);
        if in_order || !is_report(this) && time_ms(this).abs_diff(time_ms(next)) > 400 {
            return;
        }
        steps.swap(at, at + 1);
    }
}

/// A step's own time; 0 for one that has none.
fn time_ms(step: &Step) -> i64 {
    match step {
        Step::Kill(time_ms) => i64::try_from(*time_ms).unwrap_or(0),
        Step::Event(event) => {
            let event: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
            let time = event["time"].as_str().unwrap_or_default().parse::<jiff::Timestamp>();
            time.map_or(0, jiff::Timestamp::as_millisecond)
        }
        _ => 0,
    }
}

#[test]
fn random_lives_count_as_the_oracle_says() {
    for_each_seed(20_000, |seed| {
        check(seed, &life(&mut Rng::with_seed(seed)), InitializationType::OnDemand);
    });
}

#[test]
fn random_lives_of_managed_instances_count_as_the_oracle_says() {
    for_each_seed(5_000, |seed| {
        let steps = managed_life(&mut Rng::with_seed(seed));
        check(seed, &steps, InitializationType::ManagedInstances);
    });
}

fn for_each_seed(default: u64, mut run: impl FnMut(u64)) {
    let seeds = match number("OOM_WITNESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OOM_WITNESS_WORLDS").unwrap_or(default),
    };
    seeds.for_each(&mut run);
}

fn check(seed: u64, steps: &[Step], initialization_type: InitializationType) {
    for suspected in [Suspected::Count, Suspected::Ignore] {
        let settings = Settings { suspected, initialization_type, memory_size_mb: None };
        let managed = initialization_type == InitializationType::ManagedInstances;
        let expected = expected_counts(steps, suspected == Suspected::Count, managed);
        let counted = counts(steps, settings);
        // An init counts when it is seen, before the invocation that it is part of is known.
        let is_in = |(id, count): (&String, &usize)| {
            id == "init" || expected.get(id).is_some_and(|expected| count <= expected)
        };
        let total = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
        assert!(
            counted.iter().all(is_in) && total(&counted) == total(&expected),
            "OOM_WITNESS_SEED={seed} {suspected:?}: {counted:?}, not {expected:?}\n{}",
            steps.iter().map(|step| format!("{step:?}\n")).collect::<String>()
        );
    }
}
