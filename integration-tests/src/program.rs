//! A server beside the environment that is a program of its own. It ends with its value, and with
//! the sandbox.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::env::signal_group;
use crate::helper;

/// A running program.
#[derive(Debug)]
pub(crate) struct ServerProgram(Child);

impl ServerProgram {
    /// Starts the program `name` with what `change` adds, and waits until it is `ready`.
    pub(crate) fn start(
        name: &str,
        change: impl FnOnce(&mut Command) -> &mut Command,
        ready: impl Fn() -> bool,
    ) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no {name}: .ci/setup"));
        let mut command = Command::new(find(name).ok_or_else(missing)?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut program = Self(change(&mut command).spawn()?);
        if let Some(helper) = helper::binary() {
            helper::guard::watch(&helper, program.0.id());
        }
        wait_until(|| Ok(ready() || program.0.try_wait()?.is_some()))?;
        match program.0.try_wait()? {
            Some(exit) => Err(io::Error::other(format!("{name} ended: {exit}"))),
            None => Ok(program),
        }
    }

    /// Ends it. It finishes what it is doing.
    pub(crate) fn end(mut self) -> io::Result<()> {
        signal_group(self.0.id(), Signal::TERM);
        self.0.wait().map(drop)
    }
}

impl Drop for ServerProgram {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer is true.
pub(crate) fn wait_until(mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > give_up {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A UDP port that nobody uses now. It cannot be reserved: a bound socket would receive.
pub(crate) fn free_udp_port() -> io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The program of this name in `PATH`, or in the folder in which `go install` leaves programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = in_path.into_iter().find(|file| file.is_file());
    found.or_else(|| {
        let output = Command::new("go").args(["env", "GOPATH"]).output().ok()?;
        let folder = String::from_utf8(output.stdout).ok()?;
        Some(Path::new(folder.trim()).join("bin").join(name)).filter(|file| file.is_file())
    })
}

/// Far more than a program needs to start, or to count what it was sent.
const PATIENCE: Duration = Duration::from_secs(20);
