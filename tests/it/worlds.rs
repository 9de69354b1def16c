//! Random environments. The detector counts as the oracle says.
//!
//! `OOM_WITNESS_SEED=n cargo test -p oom-witness-tests worlds` repeats one. `OOM_WITNESS_WORLDS=n`
//! sets how many there are. `environments` makes them; the oracle is `tests/support/oracle.rs`.

use std::ops::RangeInclusive;

use fastrand::Rng;
use oom_witness_core::sizes::{SNAPSHOT_TOMBSTONES_MAX, TOMBSTONES_MAX};
use oom_witness_core::{InitializationType, Settings, Suspected};
use oom_witness_tests::{Difference, EventScript, Oracle, RunResult, ScriptStep, run};

mod environments;

use self::environments::{
    Clock, deliver, jumping_clock, random_happenings, random_managed_overflow,
    random_managed_steps, random_overflow,
};

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_environments_count_as_the_oracle_says() {
    for_each_seed(20_000, 1, |seed| {
        let mut rng = Rng::with_seed(seed);
        let happenings = random_happenings(&mut rng);
        let steps = deliver(&mut rng, happenings, &Clock::default());
        check(seed, &steps, false, &[]);
    });
}

#[test]
fn random_environments_whose_clock_jumps_count_as_the_oracle_says() {
    for_each_seed(20_000, 1, |seed| {
        let mut rng = Rng::with_seed(seed);
        let happenings = random_happenings(&mut rng);
        let clock = jumping_clock(&mut rng, &happenings);
        let ambiguous_times = clock.ambiguous_times(&happenings);
        let steps = deliver(&mut rng, happenings, &clock);
        check(seed, &steps, false, &ambiguous_times);
    });
}

#[test]
fn random_managed_instances_count_as_the_oracle_says() {
    for_each_seed(5_000, 1, |seed| {
        let steps = random_managed_steps(&mut Rng::with_seed(seed));
        check(seed, &steps, true, &[]);
    });
}

#[test]
fn full_tables_differ_from_the_oracle_by_what_was_evicted() {
    for_each_seed(1_000, 20, |seed| {
        check_overflow(seed, &random_overflow(&mut Rng::with_seed(seed)), false);
    });
}

#[test]
fn full_tables_on_managed_instances_differ_from_the_oracle_by_what_was_evicted() {
    for_each_seed(1_000, 20, |seed| {
        check_overflow(seed, &random_managed_overflow(&mut Rng::with_seed(seed)), true);
    });
}

/// There are more attempts than the tables hold. While an evicted attempt has a tombstone, the
/// eviction can lose a count in two cases: with `ignore`, if the evidence came partly before and
/// partly after it, or if the evidence had not counted at a restart. Without its tombstone, an
/// attempt may count again, and its line may count for another.
fn check_overflow(seed: u64, steps: &[ScriptStep], managed: bool) {
    let is_restarted = steps.contains(&ScriptStep::Restart);
    let tombstones = if is_restarted { SNAPSHOT_TOMBSTONES_MAX } else { TOMBSTONES_MAX };
    compare(seed, steps, managed, &[], |suspected, difference, evicted| {
        let forgotten = evicted.saturating_sub(tombstones);
        let may_lose = suspected == Suspected::Ignore || is_restarted;
        difference.missing <= if may_lose { evicted } else { forgotten }
            && difference.surplus <= forgotten
            && difference.foreign <= forgotten
            && difference.high_water <= 2 * forgotten
    });
}

/// The detector must count exactly as the oracle does.
fn check(seed: u64, steps: &[ScriptStep], managed: bool, ambiguous_times: &[RangeInclusive<u64>]) {
    compare(seed, steps, managed, ambiguous_times, |_, difference, _| {
        difference == Difference::default()
    });
}

/// Runs `default` seeds, or `1 / share` of OOM_WITNESS_WORLDS, or the one seed of OOM_WITNESS_SEED.
fn for_each_seed(default: u64, share: u64, mut run: impl FnMut(u64)) {
    let seeds = match number_of("OOM_WITNESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_of("OOM_WITNESS_WORLDS").map_or(default, |count| count / share),
    };
    seeds.for_each(&mut run);
}

/// Runs an environment, on demand or on Managed Instances, with each setting. `is_right` judges how
/// far the detector is from the oracle. It also gets the number of evicted attempts.
fn compare(
    seed: u64,
    steps: &[ScriptStep],
    managed: bool,
    ambiguous_times: &[RangeInclusive<u64>],
    is_right: impl Fn(Suspected, Difference, usize) -> bool,
) {
    // The random reports have 46, 99 or 100 percent.
    let high_water_percent = (!seed.is_multiple_of(4)).then_some(90);
    let oracle = Oracle::new(steps, managed, ambiguous_times, high_water_percent);
    let scenario = EventScript { steps: steps.to_vec() };
    let initialization_type = match managed {
        true => InitializationType::ManagedInstances,
        false => InitializationType::OnDemand,
    };
    for suspected in [Suspected::Count, Suspected::Ignore, Suspected::Once] {
        let settings =
            Settings { suspected, initialization_type, high_water_percent, ..Settings::default() };
        let RunResult { detections, counters, skipped } = run(&scenario, settings);
        let difference = oracle.compare(suspected, &detections);
        assert!(
            is_right(suspected, difference, counters.evicted as usize),
            "OOM_WITNESS_SEED={seed} {suspected:?}: {difference:?}\n{counters:?}\n{skipped:?}\n{detections:#?}\n{}",
            steps.iter().map(|step| format!("{step:?}\n")).collect::<String>()
        );
    }
}
