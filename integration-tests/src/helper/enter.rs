//! `__enter [[--visible ENTRY]... --tmp FOLDER] [--procs FILE]... [--log-fd] -- PROGRAM ARGS...`:
//! enters namespaces and cgroups, then becomes PROGRAM.
//!
//! The kernel then charges the process's first page to its environment, and no code has to run
//! between fork and exec. With `--tmp`, FOLDER is mounted as its `/tmp` in a user namespace, and
//! each ENTRY of the machine's `/tmp` stays visible there. With `--log-fd`, standard input is the
//! write end of the log pipe. The pipe gets another descriptor, which `_LAMBDA_TELEMETRY_LOG_FD`
//! names, and standard input is empty.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::mounts::{self, MountRight};

pub(super) fn run(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let mut log_fd = false;
    let mut visible = Vec::new();
    // When the sandbox is killed, the kernel kills this process too.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--visible") => visible.extend(args.next().map(PathBuf::from)),
            Some("--tmp") => {
                let folder = args.next().map(PathBuf::from).unwrap_or_default();
                if let Err(error) = mounts::enter(&folder, &visible, MountRight::UserNamespace) {
                    eprintln!("sandbox: mounting {}: {error}", folder.display());
                    return ExitCode::from(126);
                }
            }
            Some("--procs") => {
                let file = args.next().unwrap_or_default();
                if let Err(error) = fs::write(&file, "0") {
                    eprintln!("sandbox: entering {}: {error}", file.display());
                    return ExitCode::from(126);
                }
            }
            Some("--log-fd") => log_fd = true,
            _ => break,
        }
    }
    let Some(program) = args.next() else {
        eprintln!("sandbox: {} needs a program", super::ENTER);
        return ExitCode::from(126);
    };
    let mut command = Command::new(&program);
    command.args(args);
    let kept = if log_fd { log_descriptor() } else { None };
    if let Some(fd) = &kept {
        command.env("_LAMBDA_TELEMETRY_LOG_FD", fd.as_raw_fd().to_string()).stdin(Stdio::null());
    }
    let error = command.exec();
    eprintln!("sandbox: starting {}: {error}", program.display());
    ExitCode::from(127)
}

/// A copy of standard input above 2 that survives exec: 3, as on Lambda.
fn log_descriptor() -> Option<std::os::fd::OwnedFd> {
    let fd = fcntl_dupfd_cloexec(std::io::stdin(), 3).ok()?;
    fcntl_setfd(&fd, FdFlags::empty()).ok()?;
    Some(fd)
}
