//! Cargo, for a program that cargo itself may have started, and the agent that it builds.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A cargo that builds what a user's would. It does not get the variables that another cargo set
/// for this program: a build script that reads one of them, such as ring's, would run again each
/// time.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if OURS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The workspace: where this was built, else the current folder or one above it.
///
/// # Errors
/// None of them has a folder `agent`.
pub fn workspace() -> io::Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
    let here = env::current_dir().ok();
    let above = here.iter().flat_map(|here| here.ancestors()).map(Path::to_path_buf);
    let found = built.into_iter().chain(above).find(|root| root.join("agent/Cargo.toml").is_file());
    let missing = "no workspace with a folder `agent` here: name one with --extension PATH";
    found.ok_or_else(|| io::Error::other(missing))
}

/// Runs a `cargo build` of the agent and returns the path of the program.
///
/// # Errors
/// It does not build.
pub fn build_agent(mut cargo: Command) -> io::Result<PathBuf> {
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other("the agent does not build"));
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| io::Error::other("cargo built no executable named oom-witness"))
}

/// The path in cargo's messages, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    messages.find_map(|message: Value| {
        let ours = message["target"]["name"] == "oom-witness";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    })
}

const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"libc"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
not JSON
{"reason":"compiler-artifact","target":{"name":"oom-witness"},"executable":"/t/oom-witness"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/oom-witness")));
        assert_eq!(executable(""), None);
    }
}
