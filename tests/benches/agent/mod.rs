//! Counts the instructions of a quiet invocation with callgrind, while a release build of the agent
//! runs in the sandbox's environment.
//!
//! A quiet invocation is INVOKE, then three telemetry requests: the last report and the start, one
//! line, runtimeDone. The count has all instructions of the agent for them outside of the kernel.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandbox::{Environment, Extension, Function, QuietInvocations, ShutdownReason, Status};
use tempfile::TempDir;

/// The rows, and the file that the agent reads as `/proc/vmstat`.
pub(crate) const ROWS: [(&str, &str); 2] =
    [("quiet_invocation", "off"), ("quiet_invocation_vmstat", VMSTAT)];

/// A copy of the kernel's file (Linux 6.18), whose line `oom_kill` begins at byte 2,538.
const VMSTAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/vmstat");

/// The most instructions that a quiet invocation may take, with any compiler. At 128 MB a function
/// and its extensions share 7 % of a processor.
pub(crate) const INSTRUCTIONS_MAX: u64 = 100_000;

/// Names another build of the agent.
pub(crate) const BINARY: &str = "OOM_WITNESS_BINARY";

/// Invocations of a short and of a longer run. Their difference leaves out the start and the end of
/// the process, and the init's telemetry.
const RUN_LENGTHS: [u32; 2] = [20, 120];

/// A build of the agent.
pub(crate) struct AgentBuild {
    path: PathBuf,
}

impl AgentBuild {
    /// The program that `OOM_WITNESS_BINARY` names, else one from `cargo build --release` in the
    /// target folder of this benchmark. One with symbols is another file in another folder.
    pub(crate) fn build(has_symbols: bool) -> Result<Self, String> {
        if let Some(path) = env::var_os(BINARY) {
            let path = Path::new(&path).canonicalize();
            return Ok(Self { path: path.map_err(|error| format!("{BINARY}: {error}"))? });
        }
        // `TARGET/release/deps/instructions-HASH`
        let this = env::current_exe().map_err(|error| error.to_string())?;
        let mut target = this.ancestors().nth(3).ok_or("no target folder")?.to_path_buf();
        let mut cargo = sandbox::cargo();
        cargo.args(["build", "--release", "--quiet", "--locked", "-p", "oom-witness"]);
        if has_symbols {
            target.push("symbols");
            cargo.args(["--config", "profile.release.strip=false"]);
            cargo.args(["--config", "profile.release.debug=1"]);
        }
        cargo.arg("--target-dir").arg(&target);
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
        let path = target.join("release/oom-witness");
        if status.success() { Ok(Self { path }) } else { Err("the agent does not build".into()) }
    }

    /// Counts the instructions of one quiet invocation.
    pub(crate) fn count(&self, vmstat: &str) -> Result<u64, String> {
        let total = |invocations| self.run(vmstat, invocations, Path::new("/dev/null"));
        let [short, long] = RUN_LENGTHS;
        let more = total(long)?
            .checked_sub(total(short)?)
            .ok_or("the longer run took fewer instructions")?;
        Ok(more / u64::from(long - short))
    }

    /// Counts the instructions of a run with this many quiet invocations. Callgrind writes its
    /// profile to the existing file `out`.
    pub(crate) fn run(&self, vmstat: &str, invocations: u32, out: &Path) -> Result<u64, String> {
        let wrapper = Wrapper::new().map_err(|error| error.to_string())?;
        // The environment's own /tmp also has files of /tmp that a variable names.
        let extension = Extension::new(wrapper.path())
            .variable("AGENT", self.path.to_string_lossy())
            .variable("PROFILE", out.to_string_lossy())
            .variable("OOM_WITNESS_VMSTAT", vmstat);
        let environment = Environment::builder()
            .function(Function::Synthetic)
            .memory_mb(192)
            .extension(extension)
            .start();
        let mut environment = environment.map_err(|error| error.to_string())?;
        let quiet = QuietInvocations::default().run(&mut environment, invocations);
        let shutdown = environment.shutdown(ShutdownReason::Spindown);
        let lines = environment.extension_lines();
        let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        let failed = |why: String| format!("{why}\n{}", text.join("\n"));
        if environment.init().status != Status::Success {
            return Err(failed("the agent's init failed".into()));
        }
        quiet.and(shutdown.map(drop)).map_err(|error| failed(error.to_string()))?;
        super::read_total(&text.join("\n")).ok_or_else(|| failed("valgrind counted nothing".into()))
    }
}

/// A program that runs the agent under callgrind. It has the agent's name, because an extension
/// registers as the name of its file.
struct Wrapper(TempDir);

impl Wrapper {
    fn new() -> io::Result<Self> {
        let wrapper = Self(tempfile::tempdir()?);
        fs::write(wrapper.path(), SCRIPT)?;
        fs::set_permissions(wrapper.path(), fs::Permissions::from_mode(0o755))?;
        Ok(wrapper)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("oom-witness")
    }
}

const SCRIPT: &str = r#"#!/bin/sh
exec valgrind --tool=callgrind --callgrind-out-file="$PROFILE" "$AGENT"
"#;
