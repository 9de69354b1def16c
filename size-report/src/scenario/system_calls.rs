//! Counts the system calls of the extension in an invocation.
//!
//! strace counts them in an environment of its own, because it slows the extension.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::rest::{WARM, invoke};
use super::{Plan, with_extension};
use crate::figure::{self, CostScenario};
use crate::process::gone;
use crate::report::CostReport;

pub(super) fn run(plan: &Plan<'_>, report: &mut CostReport) -> io::Result<()> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        report.skip(CostScenario::SystemCalls, "no strace: apt-get install strace brings it", true);
        return Ok(());
    }
    let calls = with_extension(plan.sandboxed(), |environment, pid| {
        invoke(environment, 1..=WARM)?;
        let folder = tempfile::tempdir()?;
        let summary = folder.path().join("summary");
        let tracer = attach(pid, &summary)?;
        invoke(environment, WARM + 1..=WARM + TRACED)?;
        detach(tracer)?;
        total(&fs::read_to_string(&summary)?)
            .ok_or_else(|| io::Error::other("strace wrote no summary"))
    })?;
    report.add(CostScenario::SystemCalls, figure::CALLS, i64::from(calls.div_ceil(TRACED)));
    Ok(())
}

/// Starts strace, and waits until it says that it traces every thread.
fn attach(pid: u32, summary: &Path) -> io::Result<Child> {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(summary).args(["-p", &pid.to_string()]);
    let mut tracer = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    // The pipe stays open until strace has ended, because strace writes to it again.
    let mut line = String::new();
    BufReader::new(tracer.stderr.as_mut().ok_or_else(gone)?).read_line(&mut line)?;
    if line.contains(" attached") {
        return Ok(tracer);
    }
    tracer.wait()?;
    Err(io::Error::other(format!("strace cannot trace process {pid}: {}", line.trim())))
}

/// Lets strace write its summary and go.
fn detach(mut tracer: Child) -> io::Result<()> {
    kill_process(Pid::from_child(&tracer), Signal::INT)?;
    tracer.wait()?;
    Ok(())
}

/// The calls in the last line of `strace -c`: `100.00    0.001 2 432 17 total`. The 17 errors may
/// be missing.
fn total(summary: &str) -> Option<u32> {
    let line = summary.lines().rfind(|line| line.trim_end().ends_with(" total"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Invocations that are traced.
const TRACED: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_summary() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.000900           1       600           recvfrom
 10.00    0.000100           1       100        17 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1       700        17 total
";
        assert_eq!(total(summary), Some(700));
        assert_eq!(total(&summary.replace("        17 total", "           total")), Some(700));
        assert_eq!(total("strace: attach: no"), None);
    }
}
