//! The built agent as one process: real sockets, real pipes, and bad input of every kind.
//!
//! A test runs the agent in the sandbox's environment, without a cgroup
//! ([`Life`](support::sandboxed_agent::Life)), or answers each of its requests by hand
//! ([`Script`](support::script::Script)). Each test ends with the same call. It ends the agent by
//! SHUTDOWN, and checks its exit code, its count, its memory, its one thread and its open files.
//!
//! | File | What it tests |
//! |---|---|
//! | `api` | answers of Lambda's Extensions and Telemetry APIs: refusals, broken connections, odd bodies |
//! | `batches`, `sinks`, `child` | what is sent, how an intake can fail, and the process that sends |
//! | `cli`, `config` | the command line, and the variables |
//! | `counters` | the agent's last line |
//! | `faults`, `killed` | system calls that fail, and kills at each of them and at random |
//! | `http`, `telemetry`, `malformed` | telemetry requests: their framing, their events, bad ones |
//! | `journal`, `restart` | what survives a restart |
//! | `load`, `steady` | load, and a steady state without growth |
//! | `open_files`, `streams` | few descriptors; stdout and stderr that are closed, full or not read |
//! | `shutdown` | how long SHUTDOWN listens and sends |

mod api;
mod many_detections;
pub(crate) mod child;
mod cli;
mod config;
mod counters;
mod faults;
mod telemetry_http;
mod journal;
mod kills;
mod load;
mod telemetry_malformed;
mod open_files;
mod restart;
mod shutdown;
mod sinks;
mod steady_state;
mod streams;
pub(crate) mod support;
mod telemetry;

/// True if `has` holds. Otherwise the test is skipped, and says so. With `OOM_WITNESS_REQUIRE=all`
/// it fails.
fn needs(has: bool, what: &str) -> bool {
    let is_required = std::env::var("OOM_WITNESS_REQUIRE").is_ok_and(|value| value == "all");
    assert!(has || !is_required, "there is no {what}");
    if !has {
        eprintln!("skipped: there is no {what}");
    }
    has
}
