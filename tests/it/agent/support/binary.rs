//! The program under test. `OOM_WITNESS_BINARY` names it. Otherwise it is the agent of this
//! workspace, built once in the profile of these tests.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = env::var_os("OOM_WITNESS_BINARY").map_or_else(build, PathBuf::from);
        path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}

/// `TARGET/PROFILE/oom-witness`, as this is `TARGET/PROFILE/deps/it-HASH`.
fn build() -> PathBuf {
    let this = env::current_exe().expect("this program");
    let folder = this.ancestors().nth(2).expect("the profile's folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()).expect("a profile") {
        "debug" => "dev",
        name => name,
    };
    let mut cargo = sandbox::cargo();
    cargo.args(["build", "-p", "oom-witness", "--profile", profile, "--target-dir"]);
    cargo.arg(folder.parent().expect("the target folder"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    assert!(cargo.status().expect("cargo").success(), "the agent does not build");
    folder.join("oom-witness")
}
