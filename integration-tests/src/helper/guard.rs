//! `__guard`: ends the processes that were started without `__enter`, when their sandbox is killed.
//!
//! What goes through `__enter` dies with its parent by the kernel's own signal. An extension
//! without a cgroup is started directly, since how fast it starts is measured. In: a line
//! `PID-STARTTIME-0` for each on standard input. When the input ends, so do they; a process that
//! got the number of one later is spared.

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::owner;

pub(super) fn run() -> ExitCode {
    let lines: Vec<String> = std::io::stdin().lock().lines().map_while(Result::ok).collect();
    for process in lines.iter().filter_map(|line| owner::parse(line)) {
        let pid = i32::try_from(process.0).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| owner::alive(process)) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
    ExitCode::SUCCESS
}

/// Has the leader of a process group ended when this program is.
pub(crate) fn watch(helper: &Path, pid: u32) {
    static GUARD: Mutex<Option<Child>> = Mutex::new(None);
    let mut guard = GUARD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if guard.is_none() {
        let mut command = Command::new(helper);
        command.arg(super::GUARD).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // A signal for this program's group is none of its own.
        *guard = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().ok();
    }
    if let Some(input) = guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
        let _ = writeln!(input, "{}", owner::of(pid));
    }
}
