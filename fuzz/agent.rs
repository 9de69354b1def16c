// The agent's modules, for targets that `include!` this file: a program has no library to import.
// The modules refer to each other as `crate::name`, so their names are brought to the target's
// root.

#[allow(dead_code, unused_imports)]
#[path = "../agent/src"]
mod agent {
    pub(crate) mod clock;
    pub(crate) mod config;
    pub(crate) mod delivery;
    pub(crate) mod error;
    pub(crate) mod journal;
    pub(crate) mod lambda;
    pub(crate) mod logger;
    pub(crate) mod sys;
    pub(crate) mod variable;
}

#[allow(unused_imports)]
use agent::{clock, config, delivery, error, journal, lambda, logger, sys, variable};
