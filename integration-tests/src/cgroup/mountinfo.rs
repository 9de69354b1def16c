//! Finds the cgroup hierarchies of this machine.
//!
//! In: `/proc/self/mountinfo` and `/proc/self/cgroup`. Out: where a hierarchy is mounted, and this
//! process's own folder in it. It opens nothing by itself.
//!
//! ```text
//! 35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
//! 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
//! ```

use std::path::PathBuf;

use procfs::ProcessCGroups;
use procfs::process::MountInfos;

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The folder of this process in it.
    pub(super) own: PathBuf,
}

/// The hierarchy of a v1 controller, or the one of v2 (`""`), which may lack the memory controller.
pub(super) fn hierarchy(
    mounts: &MountInfos,
    own: &ProcessCGroups,
    controller: &str,
) -> Option<Hierarchy> {
    let is_v2 = controller.is_empty();
    let mount = mounts.iter().find(|mount| match mount.fs_type.as_str() {
        "cgroup" => mount.super_options.contains_key(controller),
        kind => is_v2 && kind == "cgroup2",
    })?;
    let own = own.0.iter().find(|own| match own.controllers.as_slice() {
        [] => is_v2,
        names => names.iter().any(|name| name == controller),
    });
    let own = own.map_or("/", |own| own.pathname.as_str());
    // A container sees its own folder as the root of the mount. That root is cut off.
    let inside = own.strip_prefix(&mount.root).unwrap_or(own).trim_start_matches('/');
    // mountinfo writes a blank as `\040`.
    let mount = PathBuf::from(mount.mount_point.to_string_lossy().replace("\\040", " "));
    let own = if inside.is_empty() { mount.clone() } else { mount.join(inside) };
    Some(Hierarchy { mount, own })
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    fn hierarchy(mounts: &str, own: &str, controller: &str) -> Option<Hierarchy> {
        let mounts = MountInfos::from_read(mounts.as_bytes()).expect("mounts");
        let own = ProcessCGroups::from_read(own.as_bytes()).expect("cgroups");
        super::hierarchy(&mounts, &own, controller)
    }

    fn found(mount: &str, own: &str) -> Option<Hierarchy> {
        Some(Hierarchy { mount: mount.into(), own: own.into() })
    }

    #[test]
    fn v1_controllers_beside_an_empty_v2() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             37 31 0:34 / /sys/fs/cgroup/freezer rw shared:3 - cgroup cgroup rw,freezer\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let own = "9:name=systemd:/\n6:freezer:/\n4:memory:/jobs/a:b\n1:cpu,cpuacct:/\n0::/\n";
        for (controller, mount, own_folder) in [
            ("memory", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/jobs/a:b"),
            ("freezer", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/freezer"),
            ("", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"),
        ] {
            assert_eq!(hierarchy(mounts, own, controller), found(mount, own_folder));
        }
    }

    #[test]
    fn v2_alone() {
        let mounts = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/user.slice/user-1000.slice/session-2.scope\n";
        let folder = "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope";
        assert_eq!(hierarchy(mounts, own, ""), found("/sys/fs/cgroup", folder));
        assert_eq!(hierarchy(mounts, own, "memory"), None);
    }

    #[test]
    fn a_container_that_sees_only_its_own_folder() {
        let mounts =
            "70 6 0:3 /docker/ab12 /sys/fs/cgroup/memory\\040x ro master:9 - cgroup c rw,memory\n";
        let expected = found("/sys/fs/cgroup/memory x", "/sys/fs/cgroup/memory x/inner");
        assert_eq!(hierarchy(mounts, "4:memory:/docker/ab12/inner\n", "memory"), expected);
    }
}
