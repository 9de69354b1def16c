//! The built agent as one process: real sockets, real pipes, and bad input of every kind.
//!
//! | To test | Look in |
//! |---|---|
//! | an answer of Lambda's APIs, a refusal | `api`, `api/refusals` |
//! | a telemetry request: its events, its HTTP, malformed ones | `telemetry`, `telemetry_http`, `telemetry_malformed` |
//! | what is sent to a network sink, and how a sink can fail | `sinks`, `many_detections` |
//! | a warning of the memory | `high_water` |
//! | requests to an OTLP receiver, and its answers | `otlp` |
//! | a datagram, and what happens while nobody listens | `datagrams` |
//! | the process that sends: its exit code, proxies, certificates | `child` |
//! | a key that it first fetches from AWS | `keys` |
//! | stdout and stderr that are closed, full or not read | `streams` |
//! | a variable, the command line, the last line's counters | `config`, `cli`, `counters` |
//! | SHUTDOWN and its deadline | `shutdown` |
//! | the journal's file, and what survives a restart | `journal`, `restart` |
//! | system calls that fail, kills, few open files | `faults`, `kills`, `open_files` |
//! | load, and a steady state without growth | `load`, `steady_state` |
//!
//! A test starts the agent in the sandbox's environment, without a cgroup
//! ([`SandboxedAgent`](support::sandboxed_agent::SandboxedAgent)), or answers each of its requests
//! by hand ([`Script`](support::script::Script)). Almost every test ends the agent by SHUTDOWN and
//! checks its exit code, its count, its memory, its one thread and its open files. `support/` has
//! the tools.
//!
//! Not here: what counts (`tests/it/detection/`), bytes that the scanner reads (`scanner`), the
//! event loop's rules (`agent/src/event_loop/schedule/`), real kills in a cgroup
//! (`integration-tests/tests/it/`) and the size of memory (`size-report`).

mod api;
mod child;
mod cli;
mod config;
mod counters;
mod datagrams;
mod faults;
mod high_water;
mod journal;
mod keys;
mod kills;
mod load;
mod many_detections;
mod open_files;
mod otlp;
mod restart;
mod shutdown;
mod sinks;
mod steady_state;
mod streams;
pub(crate) mod support;
mod telemetry;
mod telemetry_http;
mod telemetry_malformed;

/// True if this machine has what a test needs. Otherwise the test is skipped and says so. With
/// `OOM_WITNESS_REQUIRE=all` it fails.
pub(crate) fn needs(has: bool, what: &str) -> bool {
    let is_required = std::env::var("OOM_WITNESS_REQUIRE").is_ok_and(|value| value == "all");
    assert!(has || !is_required, "there is no {what}");
    if !has {
        eprintln!("skipped: there is no {what}");
    }
    has
}
