//! The memory of a process, by `/proc/PID`. Linux only. A process that is gone gives nothing.

use procfs::process::Process;
use serde::Serialize;

/// Memory and threads of a process at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ProcStatus {
    /// Resident now.
    pub vm_rss_kb: u64,
    /// Resident and private: no file behind it.
    pub rss_anon_kb: u64,
    /// Resident from files.
    pub rss_file_kb: u64,
    /// The most that was ever resident.
    pub vm_hwm_kb: u64,
    /// Page tables.
    pub page_tables_kb: u64,
    /// The most address space ever.
    pub vm_peak_kb: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub open_files: u64,
}

/// The command line of a process, its words with a space after each.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    let words = process(pid)?.cmdline().ok()?;
    Some(words.iter().map(|word| format!("{word} ")).collect())
}

impl ProcStatus {
    /// Reads it now.
    pub fn read(pid: u32) -> Option<Self> {
        let process = process(pid)?;
        let open_files = process.fd_count().unwrap_or(0) as u64;
        Some(Self { open_files, ..Self::memory_of(&process)? })
    }

    /// The same without the open descriptors: for many readings in a short time.
    pub fn read_memory(pid: u32) -> Option<Self> {
        Self::memory_of(&process(pid)?)
    }

    /// A zombie has no memory: `None`.
    fn memory_of(process: &Process) -> Option<Self> {
        let status = process.status().ok()?;
        Some(Self {
            vm_rss_kb: status.vmrss?,
            rss_anon_kb: status.rssanon?,
            rss_file_kb: status.rssfile?,
            vm_hwm_kb: status.vmhwm?,
            page_tables_kb: status.vmpte?,
            vm_peak_kb: status.vmpeak?,
            threads: status.threads,
            open_files: 0,
        })
    }

    /// Each figure's larger value.
    pub fn max(self, other: Self) -> Self {
        Self {
            vm_rss_kb: self.vm_rss_kb.max(other.vm_rss_kb),
            rss_anon_kb: self.rss_anon_kb.max(other.rss_anon_kb),
            rss_file_kb: self.rss_file_kb.max(other.rss_file_kb),
            vm_hwm_kb: self.vm_hwm_kb.max(other.vm_hwm_kb),
            page_tables_kb: self.page_tables_kb.max(other.page_tables_kb),
            vm_peak_kb: self.vm_peak_kb.max(other.vm_peak_kb),
            threads: self.threads.max(other.threads),
            open_files: self.open_files.max(other.open_files),
        }
    }
}

/// Whether the process exists and is no zombie.
pub fn alive(pid: u32) -> bool {
    ProcStatus::read_memory(pid).is_some()
}

/// The process of this number.
pub(crate) fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_zombie_has_no_memory() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
        assert!(alive(child.id()));
        child.kill().expect("a kill");
        while alive(child.id()) {}
        assert!(process(child.id()).is_some_and(|process| process.status().is_ok()));
        child.wait().expect("an end");
    }

    #[test]
    fn the_larger_of_each() {
        let a = ProcStatus { vm_rss_kb: 5, rss_anon_kb: 1, ..ProcStatus::default() };
        let b = ProcStatus { vm_rss_kb: 3, rss_anon_kb: 2, ..ProcStatus::default() };
        assert_eq!(a.max(b), ProcStatus { rss_anon_kb: 2, ..a });
    }

    #[test]
    fn this_process() {
        let status = ProcStatus::read(std::process::id()).expect("this process");
        assert!(status.vm_hwm_kb >= status.rss_anon_kb && status.open_files > 2);
        assert!(status.page_tables_kb > 0);
    }
}
