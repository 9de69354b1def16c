//! Builds the agent of this workspace, as a user would.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::cargo::cargo;
use crate::env::Extension;
use crate::helper;

/// The extension that was asked for (`test`: the test extension), else the agent, freshly built.
pub(super) fn extension(asked: Option<&PathBuf>) -> io::Result<Extension> {
    match asked {
        Some(path) if path.as_os_str() == "test" => {
            let binary = helper::binary().ok_or_else(|| io::Error::other("no test extension"))?;
            Ok(Extension::test(binary, ""))
        }
        Some(path) => path
            .canonicalize()
            .map(Extension::new)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => agent().map(Extension::new),
    }
}

/// One more extension beside the first.
pub(super) fn beside(words: &str) -> io::Result<Extension> {
    let binary = helper::binary().ok_or_else(|| io::Error::other("no test extension"))?;
    Ok(Extension::beside(binary, words))
}

/// The same as an argument for further commands: it is built once.
pub(super) fn argument(asked: Option<&PathBuf>) -> io::Result<PathBuf> {
    match asked {
        Some(path) if path.as_os_str() == "test" => Ok(path.clone()),
        _ => extension(asked).map(|extension| extension.path),
    }
}

fn agent() -> io::Result<PathBuf> {
    let root = workspace().ok_or_else(|| {
        io::Error::other("no workspace with a folder `agent` here: name one with --extension PATH")
    })?;
    log::info!("building the agent: cargo build --release -p oom-witness");
    let output = cargo()
        .args(["build", "--release", "-p", "oom-witness"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other("the agent does not build"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = messages.find_map(|message| {
        let ours = message["target"]["name"] == "oom-witness";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    path.ok_or_else(|| io::Error::other("cargo built no executable named oom-witness"))
}

/// Where this was built, else the current folder or one above it.
fn workspace() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
    let here = std::env::current_dir().ok();
    let above = here.iter().flat_map(|here| here.ancestors()).map(Path::to_path_buf);
    built.into_iter().chain(above).find(|root| root.join("agent/Cargo.toml").is_file())
}
