//! The story of one extension: what it was told, and how far the kernel had gone by then.
//!
//! In: each thing as it is told. Out: the lines of a recording, with the kernel's counter before
//! what was told when it had risen.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::told::Told;

/// What an extension was told, in order.
pub(crate) struct Story {
    steps: Mutex<Steps>,
    counter: Box<Counter>,
}

#[derive(Debug, Default)]
struct Steps {
    told: Vec<Told>,
    /// The last count that is told.
    kills: u64,
}

/// Reads how many processes of the environment the kernel has killed.
pub(crate) type Counter = dyn Fn() -> u64 + Send + Sync;

impl Story {
    pub(crate) fn new(counter: Box<Counter>) -> Self {
        Self { steps: Mutex::default(), counter }
    }

    /// The kernel's counter now.
    pub(crate) fn kills(&self) -> u64 {
        (self.counter)()
    }

    /// Notes what is told now.
    pub(crate) fn tell(&self, told: Told) {
        self.tell_after(self.kills(), told);
    }

    /// Notes what was told when the kernel's counter had risen to `kills`.
    pub(crate) fn tell_after(&self, kills: u64, told: Told) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if kills > steps.kills {
            steps.kills = kills;
            steps.told.push(Told::Kills(kills));
        }
        steps.told.push(told);
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).told.clone()
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story").field("steps", &self.steps).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_counter_is_told_where_it_had_risen() {
        let kills = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&kills);
        let story = Story::new(Box::new(move || counter.load(Ordering::Relaxed)));
        let invoke = || Told::Invoke("r".into());
        story.tell(invoke());
        kills.store(2, Ordering::Relaxed);
        story.tell_after(1, Told::Restart);
        story.tell(invoke());
        story.tell(invoke());
        let expected =
            [invoke(), Told::Kills(1), Told::Restart, Told::Kills(2), invoke(), invoke()];
        assert_eq!(story.told(), expected);
    }
}
