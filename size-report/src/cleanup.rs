//! Nothing stays behind when a person interrupts a run: no cgroup, no extension.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Extensions that run outside of a cgroup: nothing else would end them with this program.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Ends what was started when SIGINT or SIGTERM comes.
pub(crate) fn clean_up_when_interrupted() {
    let set = ctrlc::set_handler(|| {
        sandbox::clean_all();
        for pid in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::process::exit(130);
    });
    if let Err(error) = set {
        log::warn!("an interrupted run may leave processes behind: {error}");
    }
}

/// Marks a process as one to end; unmarks it when it is dropped.
pub(crate) struct Mark(u32);

impl Mark {
    pub(crate) fn new(pid: u32) -> Self {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
        Self(pid)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|pid| *pid != self.0);
    }
}
