//! Measures how long the child takes: runs its command line again, with the body that the intake
//! got.
//!
//! In the out-of-memory runs the intake delays its answer, and a thread reads the child's memory
//! all the time. Both make the child slower. So its time comes from this run, in which it is alone.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sandbox::Intake;

use super::Plan;
use super::oom::{SentRequest, variables};
use crate::figure::{self, CostScenario};
use crate::report::CostReport;

pub(super) fn run(plan: &Plan<'_>, sent: &SentRequest, report: &mut CostReport) -> io::Result<()> {
    if sent.program != plan.extension.path {
        report.remark("child: it is not the extension's own program, so it was not run by itself");
        return Ok(());
    }
    let intake = Intake::start()?;
    let mut command = command(&sent.program, sent.arguments.iter().skip(1), &intake);
    let begun = Instant::now();
    let mut child = command.spawn()?;
    // The pipe is dropped here, which ends the body.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&sent.body));
    let status = wait(&mut child)?;
    let duration = begun.elapsed();
    if written.is_err() || !status.success() || intake.requests().is_empty() {
        report.remark("child: run by itself it sent nothing, so its duration is unknown");
        return Ok(());
    }
    report.add(CostScenario::Child, figure::DURATION, duration.as_micros());
    Ok(())
}

/// The command line of a child that sends to this intake.
pub(crate) fn command(
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    intake: &Intake,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables(intake));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until the child ends, and kills it after [`LIMIT`].
fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let descriptor = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    if poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&LIMIT))? == 0 {
        child.kill()?;
    }
    child.wait()
}

const LIMIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
