//! What must not stay behind: cgroups of this process at its end, and of runs that were killed.
//!
//! A folder's name says who made it (`PID-STARTTIME-N`), so that a later run can tell its dead
//! owner from a living one. It touches no folder of another shape.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Place, Version, files, remove_folder};

static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Kills and removes every cgroup that this process made: for Ctrl-C and panics.
pub fn clean_all() {
    // try_lock: a panic may have come from inside.
    let folders = MADE.try_lock().map(|made| made.clone()).unwrap_or_default();
    for folder in &folders {
        clean(folder);
    }
}

/// Kills and removes what earlier runs left below `place` because they were killed themselves.
pub fn clean_leftovers(place: &Place) -> usize {
    let mut cleaned = 0;
    for parent in [Some(&place.memory), place.freezer.as_ref()].into_iter().flatten() {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(owner).is_some_and(|owner| !alive(owner)) {
                clean(&entry.path());
                cleaned += 1;
            }
        }
    }
    cleaned
}

pub(super) fn fresh_name(number: u32) -> String {
    let pid = std::process::id();
    format!("{pid}-{}-{number}", start_time(pid).unwrap_or(0))
}

pub(super) fn register(folder: &Path) {
    MADE.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_path_buf());
}

pub(super) fn forget(folder: &Path) {
    MADE.lock().unwrap_or_else(PoisonError::into_inner).retain(|made| made != folder);
}

fn clean(folder: &Path) {
    // A frozen process does not die: thaw first, in whichever version this is.
    files::freeze(Version::V1, folder, false);
    files::freeze(Version::V2, folder, false);
    files::kill_all(folder);
    remove_folder(folder);
}

fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.split('-');
    let (pid, start, number) = (parts.next()?, parts.next()?, parts.next()?);
    number.parse::<u32>().ok()?;
    if parts.next().is_some() {
        return None;
    }
    Some((pid.parse().ok()?, start.parse().ok()?))
}

fn alive((pid, start): (u32, u64)) -> bool {
    start_time(pid) == Some(start)
}

/// Field 22 of `/proc/PID/stat`; the name before it may hold blanks and brackets.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_shape_have_an_owner() {
        assert_eq!(owner("12-3400-0"), Some((12, 3400)));
        for name in ["12-3400", "12-3400-0-1", "user.slice", "a-b-c", "12-3400-x"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn this_process_is_alive_and_one_that_took_its_number_is_not() {
        let pid = std::process::id();
        let start = start_time(pid).expect("this process has a start time");
        assert!(alive((pid, start)));
        assert!(!alive((pid, start + 1)));
    }
}
