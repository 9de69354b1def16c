//! A thread that reads the memory of a process and of its children until the process is gone.
//!
//! In: a pid. Out: the last and the largest readings of it and of each child. It only reads
//! `/proc`, and never stops or traces a process. While a child lives, the pauses are short, because
//! it may live only for milliseconds. `VmHWM` only rises, so nothing before the last reading is
//! missed.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procfs::ProcResult;
use procfs::process::Process;
use sandbox::ProcStatus;

/// The readings of a process and of its children.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readings {
    pub(crate) process: ProcessReadings,
    pub(crate) children: Vec<ChildReadings>,
    /// Those of the process.
    arguments: Vec<String>,
}

/// The readings of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessReadings {
    pub(crate) last: Option<ProcStatus>,
    pub(crate) most: Option<ProcStatus>,
    /// From the last reading to the first that found the process gone.
    pub(crate) unseen: Duration,
    read_at: Option<Instant>,
    gone: bool,
}

/// A child's readings, from its exec on.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChildReadings {
    pid: u32,
    /// Its arguments. Empty before its exec.
    pub(crate) arguments: Vec<String>,
    /// Its program.
    pub(crate) program: PathBuf,
    pub(crate) readings: ProcessReadings,
}

/// Watches a process while something runs. From the moment that `hurry` is set it reads as often as
/// it can.
pub(crate) fn watch_during<T>(
    pid: u32,
    hurry: &AtomicBool,
    run: impl FnOnce() -> T,
) -> (Readings, T) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readings = scope.spawn(|| {
            let mut readings = Readings::default();
            while !readings.process.gone && !stop.load(Ordering::Relaxed) {
                let hurried = readings.read(pid) || hurry.load(Ordering::Relaxed);
                thread::sleep(if hurried { SHORT_PAUSE } else { PAUSE });
            }
            readings.read(pid);
            readings
        });
        let result = run();
        stop.store(true, Ordering::Relaxed);
        (readings.join().unwrap_or_default(), result)
    })
}

impl Readings {
    /// Reads the process and all its children. Returns whether a child lives.
    fn read(&mut self, pid: u32) -> bool {
        for child in children(pid) {
            if !self.children.iter().any(|known| known.pid == child) {
                self.children.push(ChildReadings { pid: child, ..ChildReadings::default() });
            }
        }
        // A process that has just been started may not have passed exec, and then has no arguments.
        // A process with a child has some.
        if self.arguments.is_empty() {
            self.arguments = process(pid).and_then(|process| process.cmdline()).unwrap_or_default();
        }
        let mut child_lives = false;
        for child in self.children.iter_mut().filter(|child| !child.readings.gone) {
            child.read(&self.arguments);
            child_lives |= !child.readings.gone;
        }
        if !self.process.gone {
            self.process.read(pid);
        }
        child_lives
    }
}

impl ChildReadings {
    /// Reads a child after its exec. Before that it is a copy of its parent, or shares its memory.
    /// It is also not read if the parent ended before the parent's own arguments were read.
    fn read(&mut self, parent: &[String]) {
        if self.arguments.is_empty() {
            let Ok(process) = process(self.pid) else { return };
            let arguments = process.cmdline().unwrap_or_default();
            if parent.is_empty() || arguments == parent {
                return;
            }
            self.arguments = arguments;
            self.program = process.exe().unwrap_or_default();
        }
        self.readings.read(self.pid);
    }
}

impl ProcessReadings {
    fn read(&mut self, pid: u32) {
        let now = Instant::now();
        let Some(reading) = ProcStatus::read_memory(pid) else {
            self.gone = true;
            self.unseen = self.read_at.map_or(Duration::ZERO, |at| at.elapsed());
            return;
        };
        self.read_at = Some(now);
        self.last = Some(reading);
        self.most = Some(self.most.map_or(reading, |most| most.max(reading)));
    }
}

fn process(pid: u32) -> ProcResult<Process> {
    Process::new(i32::try_from(pid).unwrap_or(i32::MAX))
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Shorter than a child's life, and long enough to leave a processor to the watched processes.
const PAUSE: Duration = Duration::from_micros(100);

/// Not zero, because a thread that never sleeps has used up its turn when it is needed.
const SHORT_PAUSE: Duration = Duration::from_micros(10);

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_and_its_child_are_read_until_their_end() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "/bin/cat; exit 0"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut shell = shell.spawn().expect("a shell");
        let mut readings = Readings::default();
        // The child lives until its input ends, so it is seen after its exec at the latest.
        while readings.children.iter().all(|child| child.arguments != ["/bin/cat"]) {
            assert!(readings.children.iter().all(|child| child.arguments.is_empty()));
            readings.read(shell.id());
        }
        drop(shell.stdin.take());
        while readings.read(shell.id()) {}
        shell.wait().expect("its end");
        readings.read(shell.id());
        assert!(
            readings.process.gone && readings.process.most.is_some_and(|most| most.vm_hwm_kb > 0)
        );
        let [child] = readings.children.as_slice() else { panic!("{:?}", readings.children) };
        assert!(child.readings.gone && child.readings.most.is_some_and(|most| most.vm_hwm_kb > 0));
        assert!(child.program.is_absolute(), "{child:?}");
    }
}
