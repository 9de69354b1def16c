//! Random environments, compared with the naive oracle.
//!
//! `OOM_WITNESS_SEED=n cargo test -p oom-witness-tests worlds` repeats one. `OOM_WITNESS_WORLDS=n`
//! sets how many there are.

use std::ops::RangeInclusive;

use fastrand::Rng;
use oom_witness_core::limits::{SNAPSHOT_TOMBSTONES_MAX, TOMBSTONES_MAX};
use oom_witness_core::{InitializationType, Settings, Suspected};
use oom_witness_tests::{Difference, EventScript, Hindsight, RunResult, ScriptStep, run};

mod environments;

use self::environments::{Clock, crowd, delivered, life, managed_crowd, managed_life, unsteady};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_lives_count_as_the_oracle_says() {
    for_each_seed(20_000, 1, |seed| {
        let mut rng = Rng::with_seed(seed);
        let life = life(&mut rng);
        let steps = delivered(&mut rng, life, &Clock::default());
        check(seed, &steps, false, &[]);
    });
}

#[test]
fn random_lives_by_a_clock_that_jumps_count_as_the_oracle_says() {
    for_each_seed(20_000, 1, |seed| {
        let mut rng = Rng::with_seed(seed);
        let life = life(&mut rng);
        let clock = unsteady(&mut rng, &life);
        let lived_twice = clock.lived_twice(&life);
        let steps = delivered(&mut rng, life, &clock);
        check(seed, &steps, false, &lived_twice);
    });
}

#[test]
fn random_lives_of_managed_instances_count_as_the_oracle_says() {
    for_each_seed(5_000, 1, |seed| {
        let steps = managed_life(&mut Rng::with_seed(seed));
        check(seed, &steps, true, &[]);
    });
}

#[test]
fn random_crowds_differ_from_the_oracle_by_what_was_evicted() {
    for_each_seed(1_000, 20, |seed| {
        check_crowd(seed, &crowd(&mut Rng::with_seed(seed)), false);
    });
}

#[test]
fn random_crowds_on_managed_instances_differ_from_the_oracle_by_what_was_evicted() {
    for_each_seed(1_000, 20, |seed| {
        check_crowd(seed, &managed_crowd(&mut Rng::with_seed(seed)), true);
    });
}

/// While the attempt's tombstone stands, an eviction can cost two things: a confirmation by
/// evidence from before and after it (`ignore`), or evidence that had not counted at a restart.
/// After its tombstone is gone, an attempt may count again, and its line may count for another.
fn check_crowd(seed: u64, steps: &[ScriptStep], managed: bool) {
    let is_restarted = steps.contains(&ScriptStep::Restart);
    let tombstones = if is_restarted { SNAPSHOT_TOMBSTONES_MAX } else { TOMBSTONES_MAX };
    compare(seed, steps, managed, &[], |suspected, difference, evicted| {
        let forgotten = evicted.saturating_sub(tombstones);
        let is_torn = suspected == Suspected::Ignore || is_restarted;
        difference.missing <= if is_torn { evicted } else { forgotten }
            && difference.surplus <= forgotten
            && difference.foreign <= forgotten
    });
}

/// The core must count exactly as the oracle does.
fn check(seed: u64, steps: &[ScriptStep], managed: bool, lived_twice: &[RangeInclusive<u64>]) {
    compare(seed, steps, managed, lived_twice, |_, difference, _| {
        difference == Difference::default()
    });
}

/// This many seeds, or `1 / share` of the number that was asked for, or the one seed that was asked
/// for.
fn for_each_seed(default: u64, share: u64, mut run: impl FnMut(u64)) {
    let seeds = match number("OOM_WITNESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OOM_WITNESS_WORLDS").map_or(default, |count| count / share),
    };
    seeds.for_each(&mut run);
}

/// Runs a life, on demand or of Managed Instances, in each mode. `is_right` judges how far the core
/// is from the oracle, given how many attempts its tables had no room for.
fn compare(
    seed: u64,
    steps: &[ScriptStep],
    managed: bool,
    lived_twice: &[RangeInclusive<u64>],
    is_right: impl Fn(Suspected, Difference, usize) -> bool,
) {
    let hindsight = Hindsight::of(steps, managed, lived_twice);
    let scenario = EventScript { steps: steps.to_vec() };
    let initialization_type = match managed {
        true => InitializationType::ManagedInstances,
        false => InitializationType::OnDemand,
    };
    for suspected in [Suspected::Count, Suspected::Ignore, Suspected::Once] {
        let settings = Settings { suspected, initialization_type, memory_size_mb: None };
        let RunResult { detections, counters, skipped } = run(&scenario, settings);
        let difference = hindsight.compare(suspected, &detections);
        assert!(
            is_right(suspected, difference, counters.evicted as usize),
            "OOM_WITNESS_SEED={seed} {suspected:?}: {difference:?}\n{counters:?}\n{skipped:?}\n{detections:#?}\n{}",
            steps.iter().map(|step| format!("{step:?}\n")).collect::<String>()
        );
    }
}
