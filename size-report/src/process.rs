//! The memory and the processor time of a process at rest, from `/proc/PID`.
//!
//! In: a pid. Out: figures in a report. A process that is gone, or a zombie, gives none. It never
//! stops or traces a process.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use procfs::ProcError;
use procfs::process::Process;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sandbox::ProcStatus;

use crate::figure::{self, CostScenario};
use crate::report::CostReport;

/// Waits until two readings in a row agree, for at most a second, and returns the last one.
pub(crate) fn settled(pid: u32) -> io::Result<ProcStatus> {
    at_rest(|| ProcStatus::read(pid)).ok_or_else(gone)
}

/// The error when a process is gone that must run.
pub(crate) fn gone() -> io::Error {
    io::Error::other("the extension ended by itself")
}

fn at_rest<T: PartialEq>(read: impl Fn() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    let mut last = read()?;
    loop {
        thread::sleep(PAUSE);
        let reading = read()?;
        if reading == last || begun.elapsed() > SETTLE_MAX {
            return Some(reading);
        }
        last = reading;
    }
}

/// The processor time of a process's present threads, in nanoseconds. It waits until they rest,
/// because the kernel adds the time of a thread when the thread stops.
pub(crate) fn cpu_ns(pid: u32) -> io::Result<i64> {
    let read = || {
        let mut sum = 0;
        for thread in open(pid)?.tasks().ok()? {
            match thread.and_then(|thread| thread.schedstat()) {
                Ok(times) => sum += times.sum_exec_runtime,
                // A thread may end after it was listed.
                Err(ProcError::NotFound(_)) => {}
                Err(_) => return None,
            }
        }
        i64::try_from(sum).ok()
    };
    let missing = || io::Error::other(format!("/proc/{pid}/task/*/schedstat cannot be read"));
    at_rest(read).ok_or_else(missing)
}

fn open(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

/// Keeps this process, and all that it starts, on one processor for as long as this value lives.
///
/// If processes wake each other across the processors of a virtual machine, the interrupts cost
/// more than the work that is measured, and count for the process that wakes the other.
pub(crate) struct OneProcessor(CpuSet);

impl OneProcessor {
    /// The first that this process may use.
    pub(crate) fn take() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let first = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap_or(0);
        let mut only = CpuSet::new();
        only.set(first);
        allow(&only)?;
        Ok(Self(before))
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        // A failure only makes this process slower.
        let _ = allow(&self.0);
    }
}

/// Lets all threads of this process run there.
fn allow(processors: &CpuSet) -> io::Result<()> {
    for thread in Process::myself().and_then(|this| this.tasks()).map_err(io::Error::other)? {
        let thread = thread.map_err(io::Error::other)?;
        sched_setaffinity(Pid::from_raw(thread.tid), processors)?;
    }
    Ok(())
}

/// Adds every figure of a process at rest.
pub(crate) fn add_all(report: &mut CostReport, scenario: CostScenario, pid: u32) -> io::Result<()> {
    let reading = settled(pid)?;
    for (figure, value) in [
        (figure::RSS, reading.vm_rss_kb),
        (figure::RSS_ANON, reading.rss_anon_kb),
        (figure::RSS_FILE, reading.rss_file_kb),
        (figure::VM_HWM, reading.vm_hwm_kb),
        (figure::PAGE_TABLES, reading.page_tables_kb),
        (figure::THREADS, reading.threads),
        (figure::OPEN_FILES, reading.open_files),
    ] {
        report.add(scenario, figure, value);
    }
    report.add_some(scenario, figure::PSS, rollup(pid, "Pss"));
    Ok(())
}

/// The RSS, counted page by page, which is exact on every kernel. It waits until the process rests.
pub(crate) fn counted_rss(pid: u32) -> Option<i64> {
    settled(pid).ok()?;
    rollup(pid, "Rss")
}

/// A sum of `smaps_rollup` in KiB.
fn rollup(pid: u32, name: &str) -> Option<i64> {
    let rollup = open(pid)?.smaps_rollup().ok()?.memory_map_rollup;
    let bytes = rollup.iter().find_map(|sums| sums.extension.map.get(name))?;
    i64::try_from(bytes / 1024).ok()
}

/// Longer than the shortest buffering of telemetry (25 ms), so that it sees a batch on its way.
const PAUSE: Duration = Duration::from_millis(50);

const SETTLE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn only_a_process_that_exists_has_processor_time() {
        assert!(cpu_ns(std::process::id()).is_ok_and(|time| time > 0));
        assert!(cpu_ns(u32::MAX).is_err());
    }

    #[test]
    fn threads_that_end_while_they_are_read_are_left_out() {
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let _ = thread::spawn(|| {}).join();
                }
            });
            let times: Vec<_> = (0..2).map(|_| cpu_ns(std::process::id())).collect();
            is_done.store(true, Ordering::Relaxed);
            assert!(times.iter().all(Result::is_ok), "{times:?}");
        });
    }

    #[test]
    fn the_pss_of_this_process_is_at_most_its_rss() {
        let pid = std::process::id();
        let (rss, pss) = (counted_rss(pid).expect("a kernel of 4.14"), rollup(pid, "Pss"));
        assert!(pss.is_some_and(|pss| pss > 0 && pss <= rss));
    }
}
