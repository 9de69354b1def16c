//! `size-report` end to end, on the smallest extension there is here: the sandbox's own.
//!
//! It needs no agent and no right to make a cgroup. Without that right the out-of-memory scenarios
//! are skipped, and each test says so. `OOM_WITNESS_REQUIRE=all` makes that a failure.

mod measure;
mod survival;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that becomes the sandbox's test extension, under the name it registers with. `words` make
/// it misbehave.
fn extension(folder: &Path, words: &str) -> PathBuf {
    let path = folder.join("test-extension");
    let program = env!("CARGO_BIN_EXE_size-report");
    let script = format!("#!/bin/sh\nSANDBOX_TEST_EXTENSION={words} exec {program} __extension\n");
    fs::write(&path, script).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

/// `size-report` with this subcommand.
fn size_report(verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_size-report"));
    command.arg(verb);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
