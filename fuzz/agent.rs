// The agent's modules, at the root of a target, where they look for each other: a program has no
// library to import. Included, not imported, by the targets of the agent.

#[allow(dead_code, unused_imports)]
#[path = "../agent/src"]
mod agent {
    pub(crate) mod config;
    pub(crate) mod delivery;
    pub(crate) mod error;
    pub(crate) mod journal;
    pub(crate) mod lambda;
    pub(crate) mod sys;
    pub(crate) mod variable;
}

#[allow(unused_imports)]
use agent::{config, delivery, error, journal, lambda, sys, variable};

/// Silent, as no logger is started here.
macro_rules! warn_once {
    ($($message:tt)+) => { log::warn!($($message)+) };
}
pub(crate) use warn_once;
