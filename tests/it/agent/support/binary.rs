//! The program under test. `OOM_WITNESS_BINARY` names it. Otherwise it is the agent of this
//! workspace, built once in the profile of these tests.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::build::build;

pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = env::var_os("OOM_WITNESS_BINARY").map(PathBuf::from);
        let path = path.unwrap_or_else(|| build(&["-p", "oom-witness"]).join("oom-witness"));
        path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}
