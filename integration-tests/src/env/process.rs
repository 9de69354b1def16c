//! Starts one process of an environment, and reports what it writes and how it ends.
//!
//! In: a program and its environment. Out: its pid, its lines and frames as they come, and its
//! exit. This module decides nothing about them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::tmp::TmpAccess;
use crate::helper::guard;
use crate::telemetry::FrameReader;

/// A program to start.
#[derive(Clone, Debug)]
pub(crate) struct ProcessSpec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    pub(crate) log_descriptor: bool,
}

/// Where it starts.
#[derive(Clone, Debug)]
pub(crate) struct ProcessContext {
    /// The cgroup files into which it writes itself, through the helper.
    pub(crate) procs_files: Vec<PathBuf>,
    /// How it gets the environment's `/tmp`.
    pub(crate) tmp: TmpAccess,
    /// The `sandbox` binary. Cgroups, the log descriptor and [`TmpAccess::Helper`] need it.
    pub(crate) helper: Option<PathBuf>,
}

impl ProcessContext {
    /// Whether the helper starts it.
    fn is_entered(&self, spec: &ProcessSpec) -> bool {
        let mounts = matches!(self.tmp, TmpAccess::Helper { .. });
        !self.procs_files.is_empty() || spec.log_descriptor || mounts
    }
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The framed log descriptor.
    Frame,
}

/// A started process.
pub(crate) struct StartedProcess {
    pub(crate) pid: u32,
    pub(crate) exit: JoinHandle<io::Result<ExitStatus>>,
    /// The readers of its outputs. They end when the last writer does.
    pub(crate) readers: Vec<JoinHandle<()>>,
}

/// Takes what a process writes.
pub(crate) trait LineHandler:
    Fn(OutputStream, Timestamp, String) + Clone + Send + Sync + 'static
{
}
impl<T: Fn(OutputStream, Timestamp, String) + Clone + Send + Sync + 'static> LineHandler for T {}

/// Starts a process. The thread that starts it must live as long as the environment, since the
/// helper makes the child die with that thread.
pub(crate) async fn start(
    spec: ProcessSpec,
    place: ProcessContext,
    take: impl LineHandler,
) -> io::Result<StartedProcess> {
    let guarded = place.helper.clone().filter(|_| !place.is_entered(&spec));
    let way = place.tmp.clone();
    let start = move || start_here(&spec, &place, &take);
    let started = match way {
        TmpAccess::Thread(starter) => starter.run(start).await??,
        TmpAccess::Helper { .. } | TmpAccess::Variable => {
            tokio::spawn(async move { start() }).await.map_err(io::Error::other)??
        }
    };
    if let Some(helper) = guarded {
        guard::watch(&helper, started.pid);
    }
    Ok(started)
}

fn start_here(
    spec: &ProcessSpec,
    place: &ProcessContext,
    take: &impl LineHandler,
) -> io::Result<StartedProcess> {
    let (mut command, frames) = command(spec, place)?;
    let mut child = command
        .env_clear()
        .envs(spec.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    drop(command); // and with it our copy of the log pipe's write end
    let pid = child.id().ok_or_else(|| io::Error::other("no pid"))?;
    let mut readers = Vec::new();
    if let Some(out) = child.stdout.take() {
        readers.push(tokio::spawn(read_lines(out, OutputStream::Stdout, take.clone())));
    }
    if let Some(err) = child.stderr.take() {
        readers.push(tokio::spawn(read_lines(err, OutputStream::Stderr, take.clone())));
    }
    if let Some(frames) = frames {
        readers.push(tokio::spawn(read_frames(frames, take.clone())));
    }
    let exit = tokio::spawn(async move { child.wait().await });
    Ok(StartedProcess { pid, exit, readers })
}

fn command(
    spec: &ProcessSpec,
    place: &ProcessContext,
) -> io::Result<(Command, Option<pipe::Receiver>)> {
    if !place.is_entered(spec) {
        let mut command = Command::new(&spec.program);
        command.args(&spec.args).stdin(Stdio::null());
        return Ok((command, None));
    }
    let helper = place.helper.as_ref().ok_or_else(|| {
        io::Error::other("the binary `sandbox` was not found: build it, or set OOM_WITNESS_SANDBOX")
    })?;
    let mut command = Command::new(helper);
    command.arg(crate::helper::ENTER);
    // Before the cgroup, so that the namespace's memory is not charged to the environment.
    if let TmpAccess::Helper { folder, visible } = &place.tmp {
        for entry in visible {
            command.arg("--visible").arg(entry);
        }
        command.arg("--tmp").arg(folder);
    }
    for file in &place.procs_files {
        command.arg("--procs").arg(file);
    }
    let frames = if spec.log_descriptor {
        let (sender, receiver) = pipe::pipe()?;
        let write_end: OwnedFd = sender.into_blocking_fd()?;
        command.arg("--log-fd").stdin(Stdio::from(write_end));
        Some(receiver)
    } else {
        command.stdin(Stdio::null());
        None
    };
    // A user namespace has no access to this program's own `/proc/PID/exe`.
    let is_helper = matches!(place.tmp, TmpAccess::Helper { .. }) && spec.program == *helper;
    let program = if is_helper { Path::new("/proc/self/exe") } else { &spec.program };
    command.arg("--").arg(program).args(&spec.args);
    Ok((command, frames))
}

async fn read_lines(stream: impl AsyncRead + Unpin, kind: OutputStream, take: impl LineHandler) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        take(kind, Timestamp::now(), String::from_utf8_lossy(&line).into_owned());
        line.clear();
    }
}

async fn read_frames(mut stream: pipe::Receiver, take: impl LineHandler) {
    let mut reader = FrameReader::default();
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        for frame in reader.feed(&piece[..read]) {
            let time = i64::try_from(frame.time_us).map(Timestamp::from_microsecond);
            let time = time.ok().and_then(Result::ok).unwrap_or_else(Timestamp::now);
            take(OutputStream::Frame, time, frame.text);
        }
    }
}

/// Signals the process group that a started process leads.
pub(crate) fn signal_group(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}
