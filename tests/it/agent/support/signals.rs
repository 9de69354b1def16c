//! Signals, sent by the shell: without `unsafe` code there is no other way.

use std::process::Command;

/// Sends a signal, such as `KILL`, to a process.
pub(in crate::agent) fn send_signal(signal: &str, pid: u32) {
    assert!(kill(signal, &pid.to_string()), "no process {pid} for SIG{signal}");
}

/// Sends a signal to all processes of a group. False if it has none.
pub(in crate::agent) fn send_signal_to_group(signal: &str, group: u32) -> bool {
    kill(signal, &format!("-{group}"))
}

fn kill(signal: &str, target: &str) -> bool {
    let kill = Command::new("/bin/sh").args(["-c", "kill -$0 $1", signal, target]).output();
    kill.expect("a shell").status.success()
}
