//! The extension to measure: a file, or the agent, freshly built. Also builds the peers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sandbox::workspace;

use crate::args::{Build, ExtensionArgs};

/// A file that runs as an extension.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionFile {
    pub(crate) path: PathBuf,
    /// Its name in `peers`, in `survival` and in the charts.
    pub(crate) name: String,
    /// The head of a report: the name, and how it was built.
    pub(crate) title: String,
    /// The layer that it was packed into.
    pub(crate) zip: Option<PathBuf>,
    /// Its linker's map.
    pub(crate) map: Option<PathBuf>,
    /// It is the agent of this workspace, which must behave as expected.
    pub(crate) ours: bool,
}

impl ExtensionFile {
    /// Any file.
    pub(crate) fn new(path: PathBuf, name: String) -> Self {
        Self { path, title: name.clone(), name, zip: None, map: None, ours: false }
    }
}

/// Finds or builds the extension that the arguments ask for.
pub(crate) fn extension(args: &ExtensionArgs) -> io::Result<ExtensionFile> {
    let Some(asked) = &args.path else { return agent(&workspace()?, args.build, None) };
    let name = asked.display().to_string();
    let path = asked
        .canonicalize()
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    Ok(ExtensionFile { map: args.map.clone(), ..ExtensionFile::new(path, name) })
}

/// Builds the agent of a workspace, in another target folder if one is named.
pub(crate) fn agent(root: &Path, build: Build, target: Option<&Path>) -> io::Result<ExtensionFile> {
    let arguments = arguments(build);
    log::info!("building the agent: cargo {}", arguments.join(" "));
    let mut command = sandbox::cargo();
    command.args(&arguments).current_dir(root).stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    let (name, file) = match build {
        Build::Gnu | Build::Layer | Build::LayerArm64 => ("oom-witness", "oom-witness"),
        Build::LayerEmf => ("oom-witness, EMF only", "oom-witness-emf"),
    };
    let of = |path| ExtensionFile {
        title: format!("oom-witness, cargo {}", arguments.join(" ")),
        ours: true,
        ..ExtensionFile::new(path, name.into())
    };
    if build == Build::Gnu {
        return Ok(of(sandbox::build_agent(command)?));
    }
    if !command.stdout(Stdio::null()).status()?.success() {
        return Err(io::Error::other("the layer does not build"));
    }
    let folder = root.join("dist").join(format!("{file}-{}", arch(build)));
    let (zip, map) = (Some(folder.with_extension("zip")), Some(folder.with_extension("map")));
    Ok(ExtensionFile { zip, map, ..of(folder.join("extensions/oom-witness")) })
}

/// The other extensions of `peers`: the smallest one on AWS's crate, and two scripts.
pub(crate) fn peers() -> io::Result<[ExtensionFile; 3]> {
    let folder = peers_folder()?;
    let script = |name: &str, file| ExtensionFile::new(folder.join(file), name.into());
    Ok([crate_peer()?, script("plain Python", "plain-python"), script("plain Node", "plain-node")])
}

/// Builds the smallest extension on AWS's crate. It has its own lock file, because it shares
/// nothing with the agent.
pub(crate) fn crate_peer() -> io::Result<ExtensionFile> {
    let folder = peers_folder()?;
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
    let path = target.join("release/lambda-extension-crate");
    Ok(ExtensionFile::new(path, "lambda-extension crate".into()))
}

fn peers_folder() -> io::Result<PathBuf> {
    Ok(workspace()?.join("size-report/peers"))
}

fn arguments(build: Build) -> Vec<&'static str> {
    match build {
        Build::Gnu => vec!["build", "--release", "-p", "oom-witness"],
        Build::Layer | Build::LayerArm64 => vec!["layer", "--arch", arch(build)],
        Build::LayerEmf => vec!["layer", "--arch", arch(build), "--emf-only"],
    }
}

/// The processor that a build is for.
fn arch(build: Build) -> &'static str {
    if build == Build::LayerArm64 { "arm64" } else { OWN_PROCESSOR }
}

/// This machine's processor, by AWS's name.
pub(crate) const OWN_PROCESSOR: &str =
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
