//! Builds the agent of this workspace, as a user would.

use std::io;
use std::path::PathBuf;

use crate::cargo::{build_agent, cargo, workspace};
use crate::env::Extension;
use crate::helper;

/// The extension of the arguments (`test`: the test extension), or the agent, freshly built.
pub(super) fn extension(asked: Option<&PathBuf>) -> io::Result<Extension> {
    match asked {
        Some(path) if path.as_os_str() == "test" => test(""),
        Some(path) => path
            .canonicalize()
            .map(Extension::new)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => agent().map(Extension::new),
    }
}

/// One more extension beside the first: the test extension, with a name of its own. It counts
/// nothing.
pub(super) fn beside(words: &str) -> io::Result<Extension> {
    let name = "other-extension".to_string();
    let extension = test(&format!("quiet,{words}"))?.variable("SANDBOX_TEST_NAME", &name);
    Ok(Extension { name, ..extension })
}

fn test(words: &str) -> io::Result<Extension> {
    let binary = helper::binary().ok_or_else(|| io::Error::other("no test extension"))?;
    Ok(Extension::test(binary, words))
}

/// The same as an argument for other commands, so that it is built only once.
pub(super) fn argument(asked: Option<&PathBuf>) -> io::Result<PathBuf> {
    match asked {
        Some(path) if path.as_os_str() == "test" => Ok(path.clone()),
        _ => extension(asked).map(|extension| extension.path),
    }
}

fn agent() -> io::Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "-p", "oom-witness"]).current_dir(workspace()?);
    log::info!("building the agent: cargo build --release -p oom-witness");
    build_agent(command)
}
