//! Builds programs of this workspace, in the profile of these tests.

use std::env;
use std::path::PathBuf;

/// Runs `cargo build` with these arguments. Returns the folder `TARGET/PROFILE` of the programs.
pub(crate) fn build(arguments: &[&str]) -> PathBuf {
    // This is `TARGET/PROFILE/deps/it-HASH`.
    let this = env::current_exe().expect("this program");
    let folder = this.ancestors().nth(2).expect("the profile's folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()).expect("a profile") {
        "debug" => "dev",
        name => name,
    };
    let mut cargo = sandbox::cargo();
    cargo.arg("build").args(arguments).args(["--profile", profile, "--target-dir"]);
    cargo.arg(folder.parent().expect("the target folder"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    assert!(cargo.status().expect("cargo").success(), "it does not build: {arguments:?}");
    folder.to_path_buf()
}
