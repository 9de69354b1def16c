//! Random lives of an environment against the naive oracle.
//!
//! `OOM_WITNESS_SEED=n cargo test -p oom-witness-tests worlds` repeats one life;
//! `OOM_WITNESS_WORLDS=n` sets how many there are.

use std::ops::RangeInclusive;

use fastrand::Rng;
use oom_witness_core::limits::{SNAPSHOT_TOMBSTONES_MAX, TOMBSTONES_MAX};
use oom_witness_core::{InitializationType, Settings, Suspected};
use oom_witness_tests::{Difference, Hindsight, Outcome, Scenario, Step, run};

mod lives;

use self::lives::{Clock, crowd, delivered, life, managed_crowd, managed_life, unsteady};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

const MODES: [Suspected; 3] = [Suspected::Count, Suspected::Ignore, Suspected::Once];

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

/// An eviction costs nothing while the attempt's tombstone stands, but a confirmation by what came
/// before it and after it (`ignore`), or evidence that had not counted at a restart. An attempt whose
/// tombstone had to go may count again, and a line of its own for another.
fn check_crowd(seed: u64, steps: &[Step], managed: bool) {
    let is_restarted = steps.contains(&Step::Restart);
    let tombstones = if is_restarted { SNAPSHOT_TOMBSTONES_MAX } else { TOMBSTONES_MAX };
    for suspected in MODES {
        let world = World { steps, suspected, managed, lived_twice: &[] };
        let (difference, evicted) = world.compare();
        let forgotten = evicted.saturating_sub(tombstones);
        let is_torn = suspected == Suspected::Ignore || is_restarted;
        let Difference { missing, surplus, foreign } = difference;
        let is_right = missing <= if is_torn { evicted } else { forgotten }
            && surplus <= forgotten
            && foreign <= forgotten;
        assert!(is_right, "{}", world.failure(seed, difference));
    }
}

/// So many seeds, or `1 / share` of as many as are asked for, or the one that is asked for.
fn for_each_seed(default: u64, share: u64, mut run: impl FnMut(u64)) {
    let seeds = match number("OOM_WITNESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OOM_WITNESS_WORLDS").map_or(default, |count| count / share),
    };
    seeds.for_each(&mut run);
}

/// A life in which nothing may be counted otherwise than the oracle does, in any mode.
fn check(seed: u64, steps: &[Step], managed: bool, lived_twice: &[RangeInclusive<u64>]) {
    for suspected in MODES {
        let world = World { steps, suspected, managed, lived_twice };
        let (difference, _) = world.compare();
        let is_right = difference == Difference::default();
        assert!(is_right, "{}", world.failure(seed, difference));
    }
}

/// A life, on demand or of Managed Instances, and what is to be made of suspicions.
struct World<'a> {
    steps: &'a [Step],
    suspected: Suspected,
    managed: bool,
    lived_twice: &'a [RangeInclusive<u64>],
}

impl World<'_> {
    /// How far the core is from the oracle, and how many attempts its tables had no room for.
    fn compare(&self) -> (Difference, usize) {
        let outcome = self.outcome();
        let hindsight = Hindsight::of(self.steps, self.managed, self.lived_twice);
        let difference = hindsight.compare(self.suspected, &outcome.detections);
        (difference, outcome.counters.evicted as usize)
    }

    fn outcome(&self) -> Outcome {
        let initialization_type = match self.managed {
            true => InitializationType::ManagedInstances,
            false => InitializationType::OnDemand,
        };
        let settings =
            Settings { suspected: self.suspected, initialization_type, memory_size_mb: None };
        run(&Scenario { steps: self.steps.to_vec() }, settings)
    }

    fn failure(&self, seed: u64, difference: Difference) -> String {
        let steps: String = self.steps.iter().map(|step| format!("{step:?}\n")).collect();
        let outcome = self.outcome();
        format!(
            "OOM_WITNESS_SEED={seed} {:?}: {difference:?}\n{:?}\n{}\n{steps}",
            self.suspected,
            outcome.counters,
            outcome.lines()
        )
    }
}
