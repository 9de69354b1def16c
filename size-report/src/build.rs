//! The extension to measure: the file of the arguments, or the agent, freshly built.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sandbox::workspace;

use crate::args::{Build, Which};

/// The names of extensions in tables, histories and charts.
pub(crate) const OURS: &str = "oom-witness";
pub(crate) const OURS_EMF: &str = "oom-witness, EMF only";
pub(crate) const CRATE: &str = "lambda-extension crate";

/// A file that runs as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) path: PathBuf,
    /// The layer that it was packed into.
    pub(crate) zip: Option<PathBuf>,
    /// Its linker's map.
    pub(crate) map: Option<PathBuf>,
    /// In a few words, for the head of a report.
    pub(crate) words: String,
    /// It is the agent of this workspace, which must behave as expected.
    pub(crate) ours: bool,
}

/// Finds or builds it.
pub(crate) fn subject(args: &Which) -> io::Result<Subject> {
    if let Some(asked) = &args.extension {
        let path = asked.canonicalize().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", asked.display()))
        })?;
        let subject = Subject::file(path, asked.display().to_string());
        return Ok(Subject { map: args.map.clone(), ..subject });
    }
    agent(&workspace()?, args.build, None)
}

impl Subject {
    /// Any file.
    pub(crate) fn file(path: PathBuf, words: String) -> Self {
        Self { path, words, zip: None, map: None, ours: false }
    }
}

/// Builds the agent of a workspace, in another target folder if one is named.
pub(crate) fn agent(root: &Path, build: Build, target: Option<&Path>) -> io::Result<Subject> {
    let arguments = arguments(build);
    let words = format!("oom-witness, cargo {}", arguments.join(" "));
    log::info!("building the agent: cargo {}", arguments.join(" "));
    let mut command = sandbox::cargo();
    command.args(&arguments).current_dir(root).stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    let name = match build {
        Build::Gnu => {
            let path = sandbox::build_agent(command)?;
            return Ok(Subject { path, words, zip: None, map: None, ours: true });
        }
        Build::Layer | Build::LayerArm64 => "oom-witness",
        Build::LayerEmf => "oom-witness-emf",
    };
    if !command.stdout(Stdio::null()).status()?.success() {
        return Err(io::Error::other("the layer does not build"));
    }
    let folder = root.join("dist").join(format!("{name}-{}", arch(build)));
    let (zip, map) = (Some(folder.with_extension("zip")), Some(folder.with_extension("map")));
    Ok(Subject { path: folder.join("extensions/oom-witness"), words, zip, map, ours: true })
}

/// The folder of the extensions that the agent is compared with.
pub(crate) fn peers() -> io::Result<PathBuf> {
    Ok(workspace()?.join("size-report/peers"))
}

/// Builds the smallest extension on AWS's crate. It has its own lock file, because it shares
/// nothing with the agent.
pub(crate) fn crate_peer() -> io::Result<PathBuf> {
    let folder = peers()?;
    let target = folder.join("../../target/peers");
    let status = sandbox::cargo()
        .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(folder.join("lambda-extension"))
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the peer on the lambda-extension crate does not build"));
    }
    Ok(target.join("release/lambda-extension-crate"))
}

fn arguments(build: Build) -> Vec<&'static str> {
    match build {
        Build::Gnu => vec!["build", "--release", "-p", "oom-witness"],
        Build::Layer | Build::LayerArm64 => vec!["layer", "--arch", arch(build)],
        Build::LayerEmf => vec!["layer", "--arch", arch(build), "--emf-only"],
    }
}

/// The processor that a build is for, by AWS's name.
fn arch(build: Build) -> &'static str {
    if build == Build::LayerArm64 || cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}
