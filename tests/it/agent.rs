//! The built agent as one process: real sockets, real pipes, and bad input of every kind.
//!
//! [`life::Life`] is the sandbox's environment without a cgroup, since nothing here needs a kill.
//! [`script::Script`] answers each of the agent's requests by hand, where the sandbox only answers
//! well. Both end in one call that every case makes: it ends the agent by SHUTDOWN and holds it to
//! its exit code, its count, its memory, its one thread and its few descriptors.

mod api;
mod batches;
pub(crate) mod binary;
mod child;
mod cli;
mod config;
mod cost;
mod counters;
mod faults;
mod http;
mod journal;
mod killed;
mod lambda;
mod life;
mod load;
mod malformed;
mod pipes;
mod refused;
mod restart;
mod script;
mod sender;
mod shutdown;
mod sinks;
mod steady;
mod strace;
mod telemetry;

/// True if `has` holds. Without it a test is skipped, and says so; where everything is required
/// (`OOM_WITNESS_REQUIRE=all`), it fails.
fn needs(has: bool, what: &str) -> bool {
    let is_required = std::env::var("OOM_WITNESS_REQUIRE").is_ok_and(|value| value == "all");
    assert!(has || !is_required, "there is no {what}");
    if !has {
        eprintln!("skipped: there is no {what}");
    }
    has
}
