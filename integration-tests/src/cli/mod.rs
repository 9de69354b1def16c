//! The command line: what a person types and reads.
//!
//! In: arguments. Out: progress and a table on the screen, JSON where asked for, an exit code:
//! 0 as expected, 1 not, 2 wrong arguments, 3 no right to make a cgroup.

mod args;
mod build;
mod case;
mod cell;
mod corpus;
mod demo;
mod index;
pub(crate) mod machine;
mod record;
mod replay;
mod run;
mod suite;
pub(crate) mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::cgroup::{clean_all, clean_leftovers, place, scope_command};
use crate::env::Memory;
use crate::logger::log_to_stderr;
use crate::runtimes::Runtime;
use args::{Command, SandboxArgs};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = SandboxArgs::parse();
    log_to_stderr(args.verbose);
    clean_at_the_end();
    let unlimited = match &args.command {
        Some(Command::Run(run)) => run.unlimited,
        Some(Command::Record(record)) => record.run.unlimited,
        Some(Command::Replay(_)) => true,
        Some(Command::Corpus(_) | Command::Suite(_)) | None => false,
    };
    let memory = if unlimited {
        Memory::Unlimited
    } else {
        match place() {
            Ok(place) => Memory::Limited(place),
            Err(why) => return elsewhere(&why),
        }
    };
    if let Memory::Limited(place) = &memory {
        clean_leftovers(place);
    }
    let result = match &args.command {
        None => demo::main(&memory),
        Some(Command::Run(run)) => run::main(run, &memory),
        Some(Command::Record(record)) => record::main(record, &memory),
        Some(Command::Corpus(corpus)) => corpus::main(corpus, &memory),
        Some(Command::Suite(suite)) => suite::main(suite, &memory),
        Some(Command::Replay(replay)) => replay::main(replay),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the same command in a delegated scope, or says what to type.
fn elsewhere(why: &str) -> ExitCode {
    if let Some(mut again) = scope_command() {
        match again.status() {
            Ok(status) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                return ExitCode::from(code.unwrap_or(1));
            }
            Err(error) => eprintln!("systemd-run: {error}"),
        }
    }
    eprint!("{why}");
    ExitCode::from(NO_RIGHT)
}

/// Whether it is a failure that this machine lacks something, as in CI: `OOM_WITNESS_REQUIRE=all`.
pub fn require_all() -> bool {
    std::env::var("OOM_WITNESS_REQUIRE").is_ok_and(|value| value == "all")
}

/// The words of a command line.
fn split(text: &str) -> Vec<String> {
    shlex::split(text).unwrap_or_default()
}

/// The files of a folder with one of these endings, sorted by name.
fn files_in(folder: &Path, endings: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if endings.contains(&ending) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Sets a runtime up. `None`: something is missing. That makes `complete` false if everything is
/// required.
fn set_up(name: &str, complete: &mut bool) -> Option<Runtime> {
    let skipped = |missing: &io::Error| {
        log::warn!("{name}: skipped, {missing}");
        *complete &= !require_all();
    };
    Runtime::ready(name).inspect_err(skipped).ok()
}

/// Removes cgroups and processes however this program ends. After a SIGKILL the next run does it.
pub fn clean_at_the_end() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        clean_all();
    }));
    let Ok(runtime) = crate::env::runtime() else { return };
    runtime.spawn(async {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut term) = signal(SignalKind::terminate()) else { return };
        let code = tokio::select! {
            _ = tokio::signal::ctrl_c() => 130,
            _ = term.recv() => 143,
        };
        clean_all();
        std::process::exit(code);
    });
}

const NO_RIGHT: u8 = 3;

/// The result of a command. `true`: as expected.
type Result = io::Result<bool>;
