//! Watches a process and its children until it is gone, in a thread.
//!
//! In: a pid. Out: the last and the largest readings of it and of each child. It only reads
//! `/proc` and stops or traces no process. A child is read all the time, since it may live only for
//! milliseconds. `VmHWM` only rises, so its last reading misses only what came after.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sandbox::ProcStatus;

/// A watch that runs.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: JoinHandle<WatchResult>,
}

/// Makes a watch read as often as it can from now on.
#[derive(Clone, Default)]
pub(crate) struct Hurry(Arc<AtomicBool>);

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
}

/// The readings of a process and of its children.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchResult {
    pub(crate) process: ProcessReadings,
    pub(crate) children: Vec<Child>,
    /// The process's own.
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

/// A child, from its exec on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Child {
    pid: u32,
    /// Its arguments. Empty before its exec.
    pub(crate) arguments: Vec<String>,
    /// Its program.
    pub(crate) program: PathBuf,
    pub(crate) seen: ProcessReadings,
}

impl Hurry {
    /// Ends the long pauses.
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    /// Starts to watch.
    pub(crate) fn start(pid: u32, hurry: Hurry) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || watch(pid, &hurry, &for_thread));
        Self { shared, thread }
    }

    /// Ends the watch, and returns the readings.
    pub(crate) fn finish(self) -> WatchResult {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(pid: u32, hurry: &Hurry, shared: &Shared) -> WatchResult {
    let mut watched = WatchResult::default();
    while !watched.process.gone && !shared.stop.load(Ordering::Relaxed) {
        let child_lives = watched.look(pid);
        let hurried = child_lives || hurry.0.load(Ordering::Relaxed);
        thread::sleep(if hurried { SHORT_PAUSE } else { PAUSE });
    }
    watched.look(pid);
    watched
}

impl WatchResult {
    /// Reads the process and all its children. Returns whether a child lives.
    fn look(&mut self, pid: u32) -> bool {
        for child in children(pid) {
            if !self.children.iter().any(|known| known.pid == child) {
                self.children.push(Child { pid: child, ..Child::default() });
            }
        }
        // A process that has just been started may not have passed exec, and then has no arguments.
        // A process with a child has some.
        if self.arguments.is_empty() {
            self.arguments = arguments(pid);
        }
        let mut child_lives = false;
        for child in self.children.iter_mut().filter(|child| !child.seen.gone) {
            child.look(&self.arguments);
            child_lives |= !child.seen.gone;
        }
        if !self.process.gone {
            self.process.look(pid);
        }
        child_lives
    }
}

impl Child {
    /// Reads a child after its exec. Before that it is a copy of its parent or shares its memory. A
    /// child is also not read if its parent was gone before its own arguments were read.
    fn look(&mut self, parent: &[String]) {
        if self.arguments.is_empty() {
            let arguments = arguments(self.pid);
            if parent.is_empty() || arguments == parent {
                return;
            }
            self.arguments = arguments;
            self.program = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        }
        self.seen.look(self.pid);
    }
}

impl ProcessReadings {
    fn look(&mut self, pid: u32) {
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

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    split(&bytes)
}

/// Arguments end with a zero byte each.
fn split(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
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
    fn arguments_end_with_a_zero_byte() {
        assert_eq!(split(b"oom-witness\0send\0datadog\0"), ["oom-witness", "send", "datadog"]);
        assert_eq!(split(b"a\0\0"), ["a", ""]);
        assert!(split(b"").is_empty());
    }

    #[test]
    fn a_process_and_its_child_are_seen_to_their_end() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "/bin/cat; exit 0"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut shell = shell.spawn().expect("a shell");
        let mut watched = WatchResult::default();
        // The child lives until its input ends, so it is seen after its exec at the latest.
        while watched.children.iter().all(|child| child.arguments != ["/bin/cat"]) {
            assert!(watched.children.iter().all(|child| child.arguments.is_empty()));
            watched.look(shell.id());
        }
        drop(shell.stdin.take());
        while watched.look(shell.id()) {}
        shell.wait().expect("its end");
        watched.look(shell.id());
        assert!(
            watched.process.gone && watched.process.most.is_some_and(|most| most.vm_hwm_kb > 0)
        );
        let [child] = watched.children.as_slice() else { panic!("{:?}", watched.children) };
        assert!(child.seen.gone && child.seen.most.is_some_and(|most| most.vm_hwm_kb > 0));
        assert!(child.program.is_absolute(), "{child:?}");
    }
}
