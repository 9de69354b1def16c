//! Measures how long the child takes: its command line again, with the body that the intake got.
//!
//! In the out-of-memory runs the intake delays its answer and a thread keeps reading the child.
//! That is right for the child's memory and wrong for its time. So it runs here once more, alone.

use std::io::{self, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::Intake;

use super::oom::{SentRequest, variables};
use super::{Plan, micros};
use crate::figure::{self, CostScenario};
use crate::report::Report;

pub(super) fn run(plan: &Plan<'_>, sent: &SentRequest, report: &mut Report) -> io::Result<()> {
    if sent.program != plan.subject.path {
        report.remark("child: another program than the extension, so it was not run by itself");
        return Ok(());
    }
    let intake = Intake::start()?;
    let mut command = Command::new(&sent.program);
    command
        .args(sent.arguments.iter().skip(1))
        .env_clear()
        .envs(variables(&intake))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn()?;
    // The pipe is dropped here, which ends the body.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&sent.body));
    let status = wait(&mut child, begun)?;
    let duration = begun.elapsed();
    if written.is_err() || !status.success() || intake.requests().is_empty() {
        report.remark("child: run by itself it sent nothing, so its duration is not known");
        return Ok(());
    }
    report.add(CostScenario::Child, figure::DURATION, micros(duration));
    Ok(())
}

/// Waits until the child ends, and kills it after [`LIMIT`].
fn wait(child: &mut Child, begun: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(PAUSE);
    }
}

const LIMIT: Duration = Duration::from_secs(5);

/// The resolution of the duration.
const PAUSE: Duration = Duration::from_micros(50);
