//! Mounts an environment's folder at `/tmp`, for the caller and the processes that it starts.
//!
//! In: the folder, and the entries of the machine's `/tmp` that stay visible in it. Out: a mount
//! namespace. The machine sees none of its mounts, and they end with its last process. The folder
//! is on the disk, as Lambda's `/tmp` is: a tmpfs would charge its files to the memory cgroup.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

/// Whose right to mount is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MountRight {
    /// Root's.
    Root,
    /// Every user's in a user namespace. The process may have only one thread.
    UserNamespace,
}

/// Gives the calling thread a `/tmp` of its own.
pub(crate) fn enter(folder: &Path, visible: &[PathBuf], right: MountRight) -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    match right {
        MountRight::Root => unshare(UnshareFlags::NEWNS)?,
        MountRight::UserNamespace => {
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
            // The user stays the same.
            fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
    }
    // First, as otherwise the machine would get the mounts below.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    for entry in visible {
        let Some(name) = entry.file_name() else { continue };
        let place = folder.join(name);
        if fs::metadata(entry)?.is_dir() {
            fs::create_dir_all(&place)?;
        } else {
            File::options().create(true).append(true).open(&place)?;
        }
        mount_bind_recursive(entry, &place)?;
    }
    Ok(mount_bind_recursive(folder, TMP)?)
}

/// Where processes see it.
pub(crate) const TMP: &str = "/tmp";

/// rustix calls it unsafe only because of the flag that unshares open files.
#[expect(deprecated, reason = "the one in its place is unsafe to call, for a flag not used here")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}
