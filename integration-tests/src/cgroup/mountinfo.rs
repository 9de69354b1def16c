//! Finds the cgroup hierarchies of this machine.
//!
//! In: the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`. Out: where `memory` and
//! `freezer` live, and this process's own folder in each. It opens nothing by itself.
//!
//! ```text
//! 35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
//! 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
//! ```

use std::path::{Path, PathBuf};

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The folder of this process in it.
    pub(super) own: PathBuf,
}

/// The hierarchies that the sandbox can use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Hierarchies {
    /// v1 `memory`.
    pub(super) memory: Option<Hierarchy>,
    /// v1 `freezer`.
    pub(super) freezer: Option<Hierarchy>,
    /// v2, with or without the memory controller.
    pub(super) unified: Option<Hierarchy>,
}

impl Hierarchies {
    /// Reads both texts. It skips lines that it does not know.
    pub(super) fn parse(mountinfo: &str, own: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            let has = |name| mount.options.split(',').any(|option| option == name);
            if mount.kind == "cgroup2" {
                found.unified.get_or_insert_with(|| mount.hierarchy(own_path(own, "")));
            } else if mount.kind == "cgroup" && has("memory") {
                found.memory.get_or_insert_with(|| mount.hierarchy(own_path(own, "memory")));
            } else if mount.kind == "cgroup" && has("freezer") {
                found.freezer.get_or_insert_with(|| mount.hierarchy(own_path(own, "freezer")));
            }
        }
        found
    }
}

struct Mount<'a> {
    root: &'a str,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(3);
        let (root, point) = (head.next()?, head.next()?);
        let mut tail = tail.split(' ');
        let (kind, options) = (tail.next()?, tail.nth(1)?);
        Some(Self { root, point: unescape(point), kind, options })
    }

    /// A container sees its own folder as the root of the mount. That root is cut off.
    fn hierarchy(&self, own: &str) -> Hierarchy {
        let inside = own.strip_prefix(self.root).unwrap_or(own).trim_start_matches('/');
        Hierarchy { mount: self.point.clone(), own: join(&self.point, inside) }
    }
}

fn join(point: &Path, inside: &str) -> PathBuf {
    if inside.is_empty() { point.to_path_buf() } else { point.join(inside) }
}

/// The path of the line `N:controllers:path` that names the controller (`""`: v2).
fn own_path<'a>(text: &'a str, controller: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .find(|(names, _)| names.split(',').any(|name| name == controller))
        .map_or("/", |(_, path)| path)
}

/// mountinfo writes a blank as `\040`.
fn unescape(point: &str) -> PathBuf {
    PathBuf::from(point.replace("\\040", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(mount: &str, own: &str) -> Option<Hierarchy> {
        Some(Hierarchy { mount: mount.into(), own: own.into() })
    }

    #[test]
    fn v1_controllers_beside_an_empty_v2() {
        let found = Hierarchies::parse(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             37 31 0:34 / /sys/fs/cgroup/freezer rw shared:3 - cgroup cgroup rw,freezer\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
            "9:name=systemd:/\n6:freezer:/\n4:memory:/jobs/a:b\n1:cpu,cpuacct:/\n0::/\n",
        );
        let memory = hierarchy("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/jobs/a:b");
        assert_eq!(found.memory, memory);
        assert_eq!(found.freezer, hierarchy("/sys/fs/cgroup/freezer", "/sys/fs/cgroup/freezer"));
        assert_eq!(found.unified, hierarchy("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"));
    }

    #[test]
    fn v2_alone() {
        let found = Hierarchies::parse(
            "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
            "0::/user.slice/user-1000.slice/session-2.scope\n",
        );
        let own = "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope";
        assert_eq!(found.unified, hierarchy("/sys/fs/cgroup", own));
        assert_eq!(found.memory, None);
    }

    #[test]
    fn a_container_that_sees_only_its_own_folder() {
        let found = Hierarchies::parse(
            "70 6 0:3 /docker/ab12 /sys/fs/cgroup/memory\\040x ro master:9 - cgroup c rw,memory\n",
            "4:memory:/docker/ab12/inner\n",
        );
        let expected = hierarchy("/sys/fs/cgroup/memory x", "/sys/fs/cgroup/memory x/inner");
        assert_eq!(found.memory, expected);
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert_eq!(Hierarchies::parse("\n1 2 3\n - \nx - cgroup\n", ":\n"), Hierarchies::default());
    }
}
