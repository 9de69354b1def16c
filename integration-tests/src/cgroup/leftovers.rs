//! Removes cgroups: those of this process at its end, and those that killed runs have left.
//!
//! A folder's name says which process made it, so that a later run knows whether that one still
//! runs. Folders with other names stay.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::access::Place;
use super::files::{self, Version};
use crate::sync::lock;
use crate::{folder, owner};

static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Kills and removes every cgroup that this process made: for Ctrl-C and panics.
pub(crate) fn clean_all() {
    // try_lock: the panic may come from a holder of the lock.
    let folders = MADE.try_lock().map(|made| made.clone()).unwrap_or_default();
    // A freezer is made after its memory cgroup, and thawed before that can be removed.
    for folder in folders.iter().rev() {
        clean(folder);
    }
    folder::clean(|owner| owner.0 == std::process::id());
}

/// Kills and removes what earlier runs, which were killed themselves, have left below `place`.
pub fn clean_leftovers(place: &Place) -> usize {
    let mut cleaned = 0;
    for parent in [place.freezer.as_ref(), Some(&place.memory)].into_iter().flatten() {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(owner::parse).is_some_and(|owner| !owner::alive(owner)) {
                clean(&entry.path());
                cleaned += 1;
            }
        }
    }
    folder::clean(|owner| !owner::alive(owner));
    cleaned
}

pub(super) fn register(folder: &Path) {
    lock(&MADE).push(folder.to_path_buf());
}

pub(super) fn forget(folder: &Path) {
    lock(&MADE).retain(|made| made != folder);
}

fn clean(folder: &Path) {
    // A frozen process does not die: thaw first, in whichever version this is.
    files::freeze(Version::V1, folder, false);
    files::freeze(Version::V2, folder, false);
    files::kill_all(folder);
    files::remove_folder(folder);
}
