//! Finds a place where this user may make a memory cgroup, or says what to type without one.
//!
//! In: the machine's hierarchies. Out: a [`Place`], or what the reader can do. It never
//! falls back to running without a cgroup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use procfs::process::Process;

use super::files::{self, Version};
use super::mountinfo::{Hierarchy, hierarchy};

/// A folder below which environments get their cgroups.
#[derive(Clone, Debug)]
pub struct Place {
    /// v1 or v2.
    pub version: Version,
    /// The parent of the memory cgroups.
    pub memory: PathBuf,
    /// The parent of the v1 freezer cgroups.
    pub freezer: Option<PathBuf>,
}

/// Looks for a place: v1 `memory`, then v2; the root of the hierarchy, then our own folder.
///
/// # Errors
/// Why this user has no right to any, and what to do about it.
pub fn place() -> Result<Place, String> {
    let this = Process::myself().and_then(|this| Ok((this.mountinfo()?, this.cgroups()?)));
    let (mounts, own) = this.map_err(|error| error.to_string())?;
    let found = |controller| hierarchy(&mounts, &own, controller);
    let mut tried = Vec::new();
    let place = match (found("memory"), found("")) {
        (Some(memory), _) => v1(&memory, found("freezer").as_ref(), &mut tried),
        (None, Some(unified)) => v2(&unified, &mut tried),
        (None, None) => None,
    };
    if let Some(place) = place {
        return Ok(place);
    }
    let exe = std::env::current_exe().unwrap_or_else(|_| "sandbox".into());
    let words = [exe.into_os_string()].into_iter().chain(std::env::args_os().skip(1));
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let command = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    Err(advice(found("memory").is_none(), &tried, &command))
}

/// The command that runs this program again in a delegated v2 scope, where systemd offers one.
/// `None` when this already is such a run, or systemd does not answer.
pub(crate) fn scope_command() -> Option<Command> {
    if std::env::var_os(IN_SCOPE).is_some() {
        return None;
    }
    let scope = || {
        let mut command = Command::new("systemd-run");
        command.args(["--user", "--scope", "--quiet", "-p", "Delegate=yes", "--"]);
        command
    };
    let mut probe = scope();
    probe.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut again = scope();
    again.arg(std::env::current_exe().ok()?).args(std::env::args_os().skip(1)).env(IN_SCOPE, "1");
    Some(again)
}

fn v1(memory: &Hierarchy, freezer: Option<&Hierarchy>, tried: &mut Vec<String>) -> Option<Place> {
    let pick = |hierarchy: &Hierarchy, tried: &mut Vec<String>| {
        [&hierarchy.mount, &hierarchy.own].into_iter().find_map(|parent| usable(parent, tried))
    };
    let memory = pick(memory, tried)?;
    // Without a freezer, environments run between invocations. The kills are as real.
    let freezer = freezer.and_then(|hierarchy| pick(hierarchy, &mut Vec::new()));
    Some(Place { version: Version::V1, memory, freezer })
}

fn v2(unified: &Hierarchy, tried: &mut Vec<String>) -> Option<Place> {
    for parent in [&unified.mount, &unified.own] {
        if delegate_memory(parent, parent == &unified.own, tried)
            && let Some(memory) = usable(parent, tried)
            && enable_memory(&memory, tried)
        {
            return Some(Place { version: Version::V2, memory, freezer: None });
        }
    }
    None
}

/// Turns the memory controller on for the children of `parent`. A v2 cgroup with processes cannot
/// have controllers below it, so the processes of our own scope move to a leaf first. That scope
/// belongs to this program alone, or is all that a container sees.
fn delegate_memory(parent: &Path, own: bool, tried: &mut Vec<String>) -> bool {
    if enable_memory(parent, &mut Vec::new()) {
        return true;
    }
    if own {
        let leaf = parent.join("supervisor");
        let made = leaf.is_dir() || fs::create_dir(&leaf).is_ok();
        if !made || !files::pids(parent).iter().all(|pid| move_to(&leaf, *pid)) {
            tried.push(format!("{}: not ours to divide", parent.display()));
            return false;
        }
    }
    enable_memory(parent, tried)
}

/// False if the process stays. A process that has ended is no reason to stop.
fn move_to(leaf: &Path, pid: u32) -> bool {
    let moved = fs::write(leaf.join("cgroup.procs"), pid.to_string());
    moved.is_ok() || !Path::new(&format!("/proc/{pid}")).exists()
}

fn enable_memory(parent: &Path, tried: &mut Vec<String>) -> bool {
    let control = parent.join("cgroup.subtree_control");
    let on = fs::read_to_string(&control)
        .is_ok_and(|text| text.split_ascii_whitespace().any(|name| name == "memory"));
    if on {
        return true;
    }
    match fs::write(&control, "+memory") {
        Ok(()) => true,
        Err(error) => {
            tried.push(format!("{}: {error}", control.display()));
            false
        }
    }
}

fn usable(parent: &Path, tried: &mut Vec<String>) -> Option<PathBuf> {
    let folder = parent.join(FOLDER);
    let made = if folder.is_dir() { Ok(()) } else { fs::create_dir(&folder) };
    let probe = folder.join("probe");
    match made.and_then(|()| fs::create_dir(&probe)).and_then(|()| fs::remove_dir(&probe)) {
        // Another run of the sandbox may be probing at this moment.
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            tried.push(format!("{}: {error}", folder.display()));
            None
        }
        _ => Some(folder),
    }
}

fn advice(unified: bool, tried: &[String], command: &str) -> String {
    let tried: String = tried.iter().map(|line| format!("  {line}\n")).collect();
    let scope = "systemd-run --user --scope -p Delegate=yes";
    let scope = format!("  {scope} {command}        # cgroup v2 with systemd\n");
    let scope = if unified { scope } else { String::new() };
    format!(
        "The kernel only kills inside a memory cgroup, and this user may not make one here.\n\
         {tried}Type one of these:\n{scope}  sudo {command}\n\
         In a container: docker run --privileged --cgroupns=host \
         -v /sys/fs/cgroup:/sys/fs/cgroup\n"
    )
}

/// The sandbox's folder in a hierarchy.
const FOLDER: &str = "oom-witness";

/// Set for the run inside a scope, so that it does not start another.
const IN_SCOPE: &str = "SANDBOX_IN_SCOPE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_the_same_command_again() {
        let command = "'/a b/sandbox' run --memory=128".to_string();
        let text = advice(true, &["here: no".into()], &command);
        for line in [
            "  here: no\n".to_string(),
            format!("  sudo {command}\n"),
            format!("  systemd-run --user --scope -p Delegate=yes {command} "),
        ] {
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        assert!(!advice(false, &[], &command).contains("systemd-run"));
    }
}
