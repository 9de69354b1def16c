//! The memory cgroup of one execution environment: limit, kill counter, peak, freezer.
//!
//! In: a name and a limit. Out: a [`Cgroup`] whose processes the real kernel kills. This module
//! never kills a process that is over the limit, and never estimates: it reads each figure.
//! Dropping it thaws, kills what is left inside and removes the folders.

mod access;
mod files;
mod leftovers;
mod mountinfo;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(crate) use access::scope_command;
pub use access::{Place, place};
pub use files::Version;
pub(crate) use leftovers::clean_all;
pub use leftovers::clean_leftovers;

use crate::owner;
use crate::sync::lock;

/// A memory cgroup, with a freezer where the machine has one.
#[derive(Debug)]
pub(crate) struct Cgroup {
    version: Version,
    memory: PathBuf,
    freezer: Option<PathBuf>,
    /// The peak of the samples, for kernels whose own peak cannot be reset.
    sampled_peak: Mutex<Option<u64>>,
}

impl Cgroup {
    /// Makes the cgroup below `place`, with a limit of `limit_bytes` and no swap.
    ///
    /// # Errors
    /// The kernel's own error, with the file that it refused.
    pub(crate) fn create(place: &Place, limit_bytes: u64) -> io::Result<Arc<Self>> {
        let name = owner::name();
        let memory = place.memory.join(&name);
        make_folder(&memory)?;
        leftovers::register(&memory);
        let freezer = match (place.version, &place.freezer) {
            (Version::V1, Some(folder)) => Some(folder.join(&name)),
            (Version::V1, None) => None,
            (Version::V2, _) => Some(memory.clone()),
        };
        let group =
            Self { version: place.version, memory, freezer, sampled_peak: Mutex::new(None) };
        if let (Version::V1, Some(folder)) = (group.version, &group.freezer) {
            make_folder(folder)?;
            leftovers::register(folder);
        }
        files::set_limit(group.version, &group.memory, limit_bytes)?;
        Ok(Arc::new(group))
    }

    /// The folder with the memory files: what the agent reads its counter from.
    pub(crate) fn folder(&self) -> &Path {
        &self.memory
    }

    /// The `cgroup.procs` files that a process writes itself into.
    pub(crate) fn procs_files(&self) -> Vec<PathBuf> {
        let mut folders = vec![&self.memory];
        folders.extend(self.freezer.iter().filter(|folder| **folder != self.memory));
        folders.into_iter().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// How many processes of this cgroup the kernel has killed so far.
    ///
    /// # Errors
    /// When the file is gone or has no `oom_kill` field.
    pub(crate) fn oom_kills(&self) -> io::Result<u64> {
        files::oom_kills(self.version, &self.memory)
    }

    /// Bytes charged now.
    pub(crate) fn usage_bytes(&self) -> u64 {
        files::read_number(&self.memory.join(files::usage_name(self.version))).unwrap_or(0)
    }

    /// The peak since the start or the last [`Cgroup::reset_peak`].
    pub(crate) fn peak_bytes(&self) -> u64 {
        let mut sampled = lock(&self.sampled_peak);
        let now = self.usage_bytes();
        match sampled.as_mut() {
            Some(peak) => {
                *peak = now.max(*peak);
                *peak
            }
            None => files::peak(self.version, &self.memory).unwrap_or(now),
        }
    }

    /// Resets the peak. v2 cannot: from here on the peak is the largest of the samples that
    /// [`Cgroup::peak_bytes`] takes.
    pub(crate) fn reset_peak(&self) {
        if files::reset_peak(self.version, &self.memory).is_err() {
            *lock(&self.sampled_peak) = Some(self.usage_bytes());
        }
    }

    /// Stops every process of the cgroup. False: there is no freezer.
    pub(crate) fn freeze(&self) -> bool {
        self.freezer.as_ref().is_some_and(|folder| files::freeze(self.version, folder, true))
    }

    /// Lets every process go on.
    pub(crate) fn thaw(&self) {
        if let Some(folder) = &self.freezer {
            files::freeze(self.version, folder, false);
        }
    }

    /// The processes inside.
    pub(crate) fn pids(&self) -> Vec<u32> {
        files::pids(&self.memory)
    }

    /// Thaws, then kills every process inside. All of them were started by the sandbox.
    pub(crate) fn kill_all(&self) {
        self.thaw();
        files::kill_all(&self.memory);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill_all();
        let folders = [Some(&self.memory), self.freezer.as_ref()];
        for folder in folders.into_iter().flatten() {
            files::remove_folder(folder);
            leftovers::forget(folder);
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
}
