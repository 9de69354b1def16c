//! The cgroup files of v1 and v2, read and written one at a time.
//!
//! In: a folder of the cgroup file system (or, in tests, one that looks like it). Out: numbers.
//! It knows nothing of environments.
//!
//! ```text
//! v1 memory.oom_control     v2 memory.events
//! oom_kill_disable 0        low 0
//! under_oom 0               max 12
//! oom_kill 3                oom_kill 3
//! ```

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The two interfaces of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all controllers.
    V2,
}

/// The number after `name` in a file of `name number` lines.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

pub(super) fn oom_kills(version: Version, folder: &Path) -> io::Result<u64> {
    let name = match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    let text = fs::read_to_string(folder.join(name))?;
    field(&text, "oom_kill").ok_or_else(|| io::Error::other(format!("{name} has no oom_kill")))
}

pub(super) fn usage_name(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.usage_in_bytes",
        Version::V2 => "memory.current",
    }
}

pub(super) fn peak(version: Version, folder: &Path) -> Option<u64> {
    let name = match version {
        Version::V1 => "memory.max_usage_in_bytes",
        Version::V2 => "memory.peak", // since Linux 5.19
    };
    read_number(&folder.join(name))
}

pub(super) fn reset_peak(version: Version, folder: &Path) -> io::Result<()> {
    match version {
        Version::V1 => fs::write(folder.join("memory.max_usage_in_bytes"), "0"),
        Version::V2 => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Limit without swap. v2 leaves `memory.oom.group` at 0: the kernel picks one process.
pub(super) fn set_limit(version: Version, folder: &Path, bytes: u64) -> io::Result<()> {
    let limit = bytes.to_string();
    // The others may be absent, as where swap accounting is off.
    let ([name, value], others) = match version {
        Version::V1 => (
            ["memory.limit_in_bytes", &limit],
            [["memory.memsw.limit_in_bytes", &limit], ["memory.swappiness", "0"]],
        ),
        Version::V2 => {
            (["memory.max", &limit], [["memory.swap.max", "0"], ["memory.oom.group", "0"]])
        }
    };
    let others = others.into_iter().filter(|[name, _]| folder.join(name).exists());
    for [name, value] in [[name, value]].into_iter().chain(others) {
        let path = folder.join(name);
        fs::write(&path, value).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
    }
    Ok(())
}

/// Freezes or thaws, and waits until the kernel confirms it. False: it did not.
pub(super) fn freeze(version: Version, folder: &Path, on: bool) -> bool {
    let (name, value) = match (version, on) {
        (Version::V1, true) => ("freezer.state", "FROZEN"),
        (Version::V1, false) => ("freezer.state", "THAWED"),
        (Version::V2, true) => ("cgroup.freeze", "1"),
        (Version::V2, false) => ("cgroup.freeze", "0"),
    };
    let path = folder.join(name);
    if fs::write(&path, value).is_err() {
        return false;
    }
    let reached = || match version {
        Version::V1 => fs::read_to_string(&path).is_ok_and(|text| text.trim() == value),
        Version::V2 => fs::read_to_string(folder.join("cgroup.events"))
            .is_ok_and(|text| field(&text, "frozen") == Some(u64::from(on))),
    };
    let give_up = Instant::now() + Duration::from_millis(500);
    while !reached() {
        if Instant::now() > give_up {
            return false;
        }
        // v1 does not finish freezing when a task was busy, unless it is written again.
        let _ = fs::write(&path, value);
        thread::sleep(Duration::from_micros(200));
    }
    true
}

pub(super) fn pids(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

pub(super) fn kill_all(folder: &Path) {
    if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
        return; // v2 since Linux 5.14
    }
    for pid in pids(folder) {
        kill(pid);
    }
}

/// Sends SIGKILL. A process that has already ended is no error.
pub(crate) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Removes a cgroup folder. Killed processes need a moment to leave it.
pub(super) fn remove_folder(folder: &Path) {
    let give_up = Instant::now() + Duration::from_secs(3);
    while folder.exists() && fs::remove_dir(folder).is_err() && Instant::now() < give_up {
        kill_all(folder);
        thread::sleep(Duration::from_millis(2));
    }
}

pub(super) fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a sample file");
        }
        folder
    }

    fn text(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).expect("the file")
    }

    #[test]
    fn v1_counter_peak_and_limit() {
        let folder = sample(&[
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            ("memory.max_usage_in_bytes", "134217728\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.memsw.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(oom_kills(Version::V1, folder.path()).ok(), Some(3));
        assert_eq!(peak(Version::V1, folder.path()), Some(134_217_728));
        set_limit(Version::V1, folder.path(), 1 << 20).expect("a limit");
        assert_eq!(text(&folder, "memory.limit_in_bytes"), "1048576");
        assert_eq!(text(&folder, "memory.memsw.limit_in_bytes"), "1048576");
        assert!(!folder.path().join("memory.swappiness").exists());
    }

    #[test]
    fn v2_counter_peak_and_limit() {
        let events = "low 0\nhigh 0\nmax 41\noom 2\noom_kill 2\noom_group_kill 0\n";
        let folder = sample(&[
            ("memory.events", events),
            ("memory.peak", "1052672\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.oom.group", "1\n"),
        ]);
        assert_eq!(oom_kills(Version::V2, folder.path()).ok(), Some(2));
        assert_eq!(peak(Version::V2, folder.path()), Some(1_052_672));
        set_limit(Version::V2, folder.path(), 1 << 27).expect("a limit");
        assert_eq!(text(&folder, "memory.max"), "134217728");
        assert_eq!(text(&folder, "memory.swap.max"), "0");
        assert_eq!(text(&folder, "memory.oom.group"), "0");
    }

    #[test]
    fn a_missing_field_is_not_zero() {
        assert_eq!(field("oom 2\noom_kill_disable 0\n", "oom_kill"), None);
        let folder = sample(&[("memory.oom_control", "under_oom 0\n")]);
        assert!(oom_kills(Version::V1, folder.path()).is_err());
    }

    #[test]
    fn v2_is_frozen_when_the_events_say_so() {
        let folder =
            sample(&[("cgroup.freeze", "0"), ("cgroup.events", "populated 1\nfrozen 1\n")]);
        assert!(freeze(Version::V2, folder.path(), true));
        assert_eq!(text(&folder, "cgroup.freeze"), "1");
    }
}
