//! The processes that the sandbox starts from its own binary: hidden subcommands.
//!
//! In: this program's arguments. Out: a process that enters cgroups and becomes another program,
//! the built-in function, one of its workers, the test extension, or the guard. They are plain
//! blocking programs, because their memory is part of what is measured.

mod enter;
mod extension;
mod function;
pub(crate) mod guard;
pub(crate) mod http;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const ENTER: &str = "__enter";
pub(crate) const EXTENSION: &str = "__extension";
pub(crate) const FUNCTION: &str = "__function";
pub(crate) const GUARD: &str = "__guard";
pub(crate) const WORKER: &str = "__worker";

/// Runs a hidden subcommand when the arguments ask for one. Every binary that starts
/// environments calls this first in `main`; a test finds the built `sandbox` beside itself.
pub fn run_if_asked() -> Option<ExitCode> {
    HOOKED.store(true, Ordering::Relaxed);
    let mut args = std::env::args_os().skip(1);
    let name = args.next()?;
    match name.to_str()? {
        ENTER => Some(enter::run(args.collect())),
        EXTENSION => Some(exit_code("test extension", extension::run())),
        FUNCTION => Some(exit_code("built-in function", function::run())),
        GUARD => Some(guard::run()),
        WORKER => function::worker(),
        _ => None,
    }
}

/// The binary that knows the hidden subcommands: `OOM_WITNESS_SANDBOX`, this program when it
/// called [`run_if_asked`], else a file `sandbox` in or above the folder of this program.
pub fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("OOM_WITNESS_SANDBOX") {
        return Some(path.into());
    }
    let exe = std::env::current_exe().ok()?;
    if HOOKED.load(Ordering::Relaxed) {
        // This path stays valid when a build replaces the file meanwhile.
        return Some(format!("/proc/{}/exe", std::process::id()).into());
    }
    exe.ancestors().skip(1).take(3).map(|folder| folder.join("sandbox")).find(|path| path.is_file())
}

/// The exit code of this result. An error is said on standard error.
fn exit_code(name: &str, result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

static HOOKED: AtomicBool = AtomicBool::new(false);
