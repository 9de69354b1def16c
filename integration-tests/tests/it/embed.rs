//! The core inside another program: the example on AWS's `lambda-extension` crate counts a real
//! kill once.

use std::path::PathBuf;
use std::process::Command;

use crate::{binary, place};

/// Builds the example. It is no package of this workspace.
fn extension() -> PathBuf {
    const FOLDER: &str = "../core/examples/lambda-extension";
    // This is `TARGET/PROFILE/deps/it-HASH`.
    let this = std::env::current_exe().expect("this program");
    let target = this.ancestors().nth(3).expect("the target folder");
    let mut cargo = sandbox::cargo();
    cargo.args(["build", "--locked", "--target-dir"]).arg(target);
    let built = cargo.current_dir(FOLDER).status().expect("cargo");
    assert!(built.success(), "the example does not build");
    target.join("debug/oom-witness-core-lambda-extension")
}

#[test]
fn an_extension_on_awss_crate_counts_a_kill_once() {
    if place("an_extension_on_awss_crate_counts_a_kill_once").is_none() {
        return;
    }
    let extension = extension();
    // After the first invocation Lambda restarts the extension, which then gets the late report.
    let runs: [&[&str]; 3] = [
        &["builtin", "--invocations", "3", "--then-succeed"],
        &["builtin", "--log-format", "json", "--line", "MemoryError", "--behavior", "crash"],
        &["builtin", "--behavior", "succeed"],
    ];
    for (arguments, count) in runs.iter().zip(["1", "1", "0"]) {
        let mut run = Command::new(binary());
        run.arg("run").args(*arguments).args(["--expect", count, "--extension"]).arg(&extension);
        let output = run.output().expect("the sandbox");
        assert!(output.status.success(), "{arguments:?}: {output:#?}");
    }
}
