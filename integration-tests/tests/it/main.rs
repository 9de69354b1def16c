//! The sandbox from the outside: real processes, and where the machine allows it real kills.
//!
//! They need no agent: the binary's own test extension registers, listens and counts.

mod embed;
mod intake;
mod kills;
mod lifecycle;
mod managed;
mod record;
mod replay;
mod replay_several;
mod runtimes;
mod sinks;
mod telemetry;
mod tmp;

use std::io::Write;
use std::path::PathBuf;

use sandbox::{Builder, Environment, Extension, Memory, Place};

/// The built binary.
fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_sandbox").into()
}

/// An environment with the test extension, without a cgroup.
fn free(words: &str) -> Builder {
    Environment::builder().sandbox(binary()).extension(Extension::test(binary(), words))
}

/// The same in a cgroup of 128 MiB; `None`: skipped, and the reason is printed.
fn limited(test: &str, words: &str) -> Option<Builder> {
    Some(free(words).memory(Memory::Limited(place(test)?)).memory_mb(128))
}

fn place(test: &str) -> Option<Place> {
    match sandbox::place() {
        Ok(place) => Some(place),
        Err(why) => {
            skip(test, &why);
            None
        }
    }
}

/// Says why a test does nothing; where everything is required, fails it.
fn skip(test: &str, why: &str) {
    assert!(!sandbox::require_all(), "{test} cannot run: {why}");
    // Not a print macro: those are captured, and a skip must be seen.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
}
