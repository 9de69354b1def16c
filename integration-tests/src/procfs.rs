//! The memory of a process, by `/proc/PID`. Linux only. A process that is gone gives nothing.
//!
//! ```text
//! VmHWM:       440 kB
//! VmRSS:       432 kB
//! RssAnon:      48 kB
//! ```

use std::fs;

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

impl ProcStatus {
    /// Reads it now.
    pub fn read(pid: u32) -> Option<Self> {
        let mut status = Self::read_memory(pid)?;
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok();
        status.open_files = files.map_or(0, |files| files.count() as u64);
        Some(status)
    }

    /// The same without the open descriptors: for many readings in a short time.
    pub fn read_memory(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// Reads the text of a status file. A zombie has no memory lines: `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        Some(Self {
            vm_rss_kb: number("VmRSS")?,
            rss_anon_kb: number("RssAnon")?,
            rss_file_kb: number("RssFile")?,
            vm_hwm_kb: number("VmHWM")?,
            page_tables_kb: number("VmPTE")?,
            vm_peak_kb: number("VmPeak")?,
            threads: number("Threads")?,
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
    ProcStatus::read(pid).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file() {
        let text = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  440 kB\nVmRSS:\t  432 kB\n\
                    RssAnon:\t   48 kB\nRssFile:\t  384 kB\nRssShmem:\t  0 kB\n\
                    VmPTE:\t  28 kB\nThreads:\t1\n";
        let expected = ProcStatus {
            vm_rss_kb: 432,
            rss_anon_kb: 48,
            rss_file_kb: 384,
            vm_hwm_kb: 440,
            page_tables_kb: 28,
            vm_peak_kb: 900,
            threads: 1,
            open_files: 0,
        };
        assert_eq!(ProcStatus::parse(text), Some(expected));
        let zombie = "Name:\tzombie\nState:\tZ (zombie)\nThreads:\t1\n";
        assert_eq!(ProcStatus::parse(zombie), None);
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
