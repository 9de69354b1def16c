//! The kernel's own count of the processes that it killed because memory ran out.
//!
//! In: `oom_kill N` of our cgroup's `memory.events` (v2) or `memory.oom_control` (v1), else of
//! `/proc/vmstat` where each environment is a virtual machine of its own. Out: whether the count
//! rose. If no file can be read, that is no error: the agent then goes without this evidence.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file that has the count, and the last count.
pub(crate) struct KernelCounter {
    file: Option<File>,
    /// The last count; `None` before the first reading.
    count: Option<u64>,
    /// Where in the file the count was.
    at: u64,
}

/// The piece in which the file is read. For each piece the kernel generates all of `/proc/vmstat`.
const BUFFER_SIZE: usize = 4096;

/// At most this many bytes are read. `/proc/vmstat` has about 5,000.
const FILE_MAX: u64 = 32 * 1024;

/// How far before its last place the search for the line begins.
const BEFORE: u64 = 32;

/// How much is read from there.
const NEAR_SIZE: usize = 128;

/// The longest line `oom_kill N`, rounded up.
const LINE_MAX: u64 = 32;

impl KernelCounter {
    /// A count that never rises.
    pub(crate) const fn none() -> Self {
        Self { file: None, count: None, at: 0 }
    }

    /// Opens the first file that can be read. `cgroup` is `/sys/fs/cgroup` or its replacement, and
    /// `vmstat` is `/proc/vmstat` or its replacement; `None` leaves either out. `before` is the
    /// last count of the previous process, if it is known.
    pub(crate) fn open(cgroup: Option<&Path>, vmstat: Option<&Path>, before: Option<u64>) -> Self {
        let cgroup = cgroup.into_iter().flat_map(candidates);
        for path in cgroup.chain(vmstat.map(Path::to_owned)) {
            let Ok(file) = File::open(path) else { continue };
            if let Some((count, at)) = read_count(&file) {
                // A lower count is that of another machine.
                let count = before.filter(|before| *before <= count).unwrap_or(count);
                return Self { file: Some(file), count: Some(count), at };
            }
        }
        Self::none()
    }

    /// The last count, for the journal.
    pub(crate) const fn count(&self) -> Option<u64> {
        self.count
    }

    /// Reads the count again; true if a process was killed since the last reading. One pread(2) is
    /// enough if the line is near its last place. Otherwise the file is read from its start.
    pub(crate) fn has_risen(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let near = read_near(file, self.at);
        let Some((count, at)) = near.or_else(|| read_count(file)) else { return false };
        self.at = at;
        self.count.replace(count).is_some_and(|before| before < count)
    }
}

/// Where our cgroup's file may be: in the folder itself, or below it at the path that the kernel
/// names.
fn candidates(folder: &Path) -> Vec<PathBuf> {
    let mut paths = vec![folder.join("memory.events"), folder.join("memory.oom_control")];
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers) = (fields.next(), fields.next().unwrap_or_default());
        let path = fields.next().unwrap_or_default().trim_start_matches('/');
        if hierarchy == Some("0") {
            paths.push(folder.join(path).join("memory.events"));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            paths.push(folder.join("memory").join(path).join("memory.oom_control"));
        }
    }
    paths
}

/// Reads from the start of the file. Returns the count, and a place just before its line.
// A frame of its own: its buffer is on the stack only as long as it is needed.
#[inline(never)]
fn read_count(file: &File) -> Option<(u64, u64)> {
    read_from(file, 0, &mut [0; BUFFER_SIZE])
}

/// Reads one piece near the place `at` of the line.
fn read_near(file: &File, at: u64) -> Option<(u64, u64)> {
    let start = at.checked_sub(BEFORE)?;
    read_from(file, start, &mut [0; NEAR_SIZE])
}

/// Reads from `start` on. Unless that is the file's start, it may lie within a line, and only one
/// piece is read.
fn read_from(file: &File, start: u64, buffer: &mut [u8]) -> Option<(u64, u64)> {
    let mut search = LineSearch { is_other_line: start > 0, ..LineSearch::default() };
    let mut offset = start;
    while offset < FILE_MAX {
        let piece = match file.read_at(buffer, offset) {
            Ok(0) => break,
            Ok(length) => buffer.get(..length)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        for byte in piece {
            search.take(*byte);
            offset += 1;
            if let Some(count) = search.found {
                return Some((count, offset.saturating_sub(LINE_MAX)));
            }
        }
        if start > 0 {
            return None;
        }
    }
    search.take(b'\n');
    search.found.map(|count| (count, offset.saturating_sub(LINE_MAX)))
}

/// Searches a stream of bytes for the line `oom_kill N`.
#[derive(Default)]
struct LineSearch {
    /// How many bytes of the key have matched. After the key comes the number.
    matched: usize,
    number: Option<u64>,
    found: Option<u64>,
    is_other_line: bool,
}

const KEY: &[u8] = b"oom_kill ";

impl LineSearch {
    fn take(&mut self, byte: u8) {
        if byte == b'\n' {
            if self.matched == KEY.len() && !self.is_other_line {
                self.found = self.found.or(self.number);
            }
            (self.matched, self.number, self.is_other_line) = (0, None, false);
        } else if let Some(expected) = KEY.get(self.matched) {
            self.is_other_line |= byte != *expected;
            self.matched += 1;
        } else {
            self.is_other_line |= !byte.is_ascii_digit();
            let digit = u64::from(byte.wrapping_sub(b'0'));
            let number = self.number.unwrap_or(0);
            self.number = number.checked_mul(10).and_then(|number| number.checked_add(digit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Option<u64> {
        let mut search = LineSearch::default();
        for byte in text.bytes() {
            search.take(byte);
        }
        search.take(b'\n');
        search.found
    }

    #[test]
    fn the_count_of_each_kind_of_file_is_read() {
        assert_eq!(count("low 0\nhigh 0\nmax 17\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 5"), Some(5));
        assert_eq!(count("nr_free_pages 1\npgmigrate 2\noom_kill 104\nnuma_hit 1\n"), Some(104));
    }

    #[test]
    fn any_other_line_is_no_count() {
        for text in ["", "oom_kill", "oom_kill x", "oom_kill 1x", "xoom_kill 1", "oom_killer 1"] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn the_count_rises_once_per_kill() {
        let folder = std::env::temp_dir().join(format!("kernel-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("memory.events");
        fs::write(&file, "oom_kill 1\n").unwrap();
        let mut counter = KernelCounter::open(Some(&folder), None, None);
        assert!(!counter.has_risen());
        fs::write(&file, "oom_kill 3\n").unwrap();
        assert!(counter.has_risen() && !counter.has_risen());
        // A process sees a kill that happened after the previous process; a lower count is another
        // VM's.
        assert!(KernelCounter::open(Some(&folder), None, Some(2)).has_risen());
        assert!(!KernelCounter::open(Some(&folder), None, Some(9)).has_risen());
        fs::remove_dir_all(&folder).unwrap();
        assert!(!KernelCounter::open(Some(&folder), None, None).has_risen());
    }
}
