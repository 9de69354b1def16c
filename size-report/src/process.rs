//! A process at rest, by `/proc/PID`: its memory and its processor time. A process that is gone, or
//! a zombie, gives nothing.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sandbox::ProcStatus;

use crate::figure::{self, CostScenario};
use crate::report::Report;

/// Waits until two readings in a row agree, for at most a second, and returns the last one.
pub(crate) fn settled(pid: u32) -> Option<ProcStatus> {
    at_rest(|| ProcStatus::read(pid))
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
    let folder = format!("/proc/{pid}/task");
    let read = || {
        let threads = fs::read_dir(&folder).ok()?.flatten();
        let texts = threads.map(|thread| fs::read_to_string(thread.path().join("schedstat")));
        // A thread may end after it was listed.
        let has_ended = |error: &io::Error| {
            error.kind() == io::ErrorKind::NotFound
                || Errno::from_io_error(error) == Some(Errno::SRCH)
        };
        texts
            .filter(|text| !text.as_ref().is_err_and(has_ended))
            .map(|text| on_cpu(&text.ok()?))
            .sum()
    };
    at_rest(read).ok_or_else(|| io::Error::other(format!("{folder}/*/schedstat cannot be read")))
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
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.file_name().to_string_lossy().parse().ok();
        sched_setaffinity(thread.and_then(Pid::from_raw), processors)?;
    }
    Ok(())
}

/// The first of `on_cpu waiting slices`, in nanoseconds.
fn on_cpu(schedstat: &str) -> Option<i64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// Adds every figure of a process at rest. False: the process is gone.
pub(crate) fn add_all(report: &mut Report, scenario: CostScenario, pid: u32) -> bool {
    let Some(reading) = settled(pid) else { return false };
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
    true
}

/// The RSS, counted page by page, which is exact on every kernel. It waits until the process rests.
pub(crate) fn counted_rss(pid: u32) -> Option<i64> {
    settled(pid)?;
    rollup(pid, "Rss")
}

fn rollup(pid: u32, name: &str) -> Option<i64> {
    field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, name)
}

/// The number after `NAME:` at the start of a line.
fn field(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Longer than the shortest buffering of telemetry (25 ms), so that it sees a batch on its way.
const PAUSE: Duration = Duration::from_millis(50);

const SETTLE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn fields_are_matched_by_their_whole_name() {
        let text = "Rss:  100 kB\nPss_Dirty:   1 kB\nPss:   61 kB\n";
        assert_eq!(field(text, "Pss"), Some(61));
        assert_eq!(field(text, "Ps"), None);
        assert_eq!(field("Pss: many kB", "Pss"), None);
    }

    #[test]
    fn time_on_a_processor() {
        assert_eq!(on_cpu("382199015 4701831763 8953\n"), Some(382_199_015));
        assert_eq!(on_cpu(""), None);
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
    fn this_process() {
        let pid = std::process::id();
        let (rss, pss) = (counted_rss(pid).expect("a kernel of 4.14"), rollup(pid, "Pss"));
        assert!(pss.is_some_and(|pss| pss > 0 && pss <= rss));
    }
}
