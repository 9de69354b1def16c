//! `__guard`: ends the processes that were started without `__enter`, when their sandbox is killed.
//!
//! The kernel ends what went through `__enter` together with its parent. An extension without a
//! cgroup is started directly, because its start is measured. In: a line `PID-STARTTIME-0` for each
//! on standard input. When the input ends, the guard kills them. The start time spares a process
//! that got the same number later.

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;

use rustix::process::Signal;

use crate::env::signal_group;
use crate::owner;
use crate::sync::lock;

pub(super) fn run() -> ExitCode {
    let lines: Vec<String> = std::io::stdin().lock().lines().map_while(Result::ok).collect();
    for process in lines.iter().filter_map(|line| owner::parse(line)) {
        if owner::alive(process) {
            signal_group(process.0, Signal::KILL);
        }
    }
    ExitCode::SUCCESS
}

/// Makes the guard end this process group when this program has ended.
pub(crate) fn watch(helper: &Path, pid: u32) {
    static GUARD: Mutex<Option<Child>> = Mutex::new(None);
    let mut guard = lock(&GUARD);
    if guard.is_none() {
        let mut command = Command::new(helper);
        command.arg(super::GUARD).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // A signal for this program's group must not reach it.
        *guard = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().ok();
    }
    if let Some(input) = guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
        let _ = writeln!(input, "{}", owner::of(pid));
    }
}
