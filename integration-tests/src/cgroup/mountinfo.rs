//! Finds the cgroup hierarchies of this machine.
//!
//! In: the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`. Out: where a hierarchy is
//! mounted, and this process's own folder in it. It opens nothing by itself.
//!
//! ```text
//! 35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
//! 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
//! ```

use std::path::PathBuf;

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The folder of this process in it.
    pub(super) own: PathBuf,
}

/// The hierarchy of a v1 controller, or the one of v2 (`""`), which may lack the memory controller.
/// Lines of another form are skipped.
pub(super) fn hierarchy(mountinfo: &str, own: &str, controller: &str) -> Option<Hierarchy> {
    let has = |names: &str| names.split(',').any(|name| name == controller);
    let kind = if controller.is_empty() { "cgroup2" } else { "cgroup" };
    let (root, mount) = mountinfo.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(3);
        let mut tail = tail.split(' ');
        let is_this = tail.next()? == kind && (controller.is_empty() || has(tail.nth(1)?));
        // mountinfo writes a blank as `\040`.
        Some((head.next()?, head.next()?.replace("\\040", " "))).filter(|_| is_this)
    })?;
    // A line is `N:controllers:path`.
    let mut paths = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own = paths.find(|(names, _)| has(names)).map_or("/", |(_, path)| path);
    // A container sees its own folder as the root of the mount. That root is cut off.
    let inside = own.strip_prefix(root).unwrap_or(own).trim_start_matches('/');
    let mount = PathBuf::from(mount);
    let own = if inside.is_empty() { mount.clone() } else { mount.join(inside) };
    Some(Hierarchy { mount, own })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn nonsense_is_passed_over() {
        for controller in ["memory", ""] {
            assert_eq!(hierarchy("\n1 2 3\n - \nx - cgroup\n", ":\n", controller), None);
        }
    }
}
