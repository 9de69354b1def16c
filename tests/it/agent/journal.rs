//! The journal as a file: when the agent writes it, and what it does with a file that is torn,
//! foreign, or cannot be written.
//!
//! What a journal carries from one process to the next is tested in `restart`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use sandbox::ShutdownReason;
use tempfile::TempDir;

use super::needs;
use super::support::agent_process::AgentOutput;
use super::support::binary::binary;
use super::support::bodies::{OOM, bodies, oom_body, oom_body_of};
use super::support::failing_calls::is_all_asked_for;
use super::support::ports::free_port;
use super::support::sandboxed_agent::SandboxedAgent;
use super::support::script::Script;

/// Notices whether the agent writes the journal from now on.
struct JournalWatch {
    path: PathBuf,
    /// The time of its last change, set by this watch.
    changed: SystemTime,
}

impl JournalWatch {
    fn start(script: &Script) -> Self {
        let (path, changed) = (script.journal(), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let file = File::options().write(true).open(&path).expect("a journal");
        file.set_modified(changed).expect("a time");
        Self { path, changed }
    }

    fn is_written(&self) -> bool {
        let metadata = fs::metadata(&self.path).expect("a journal");
        metadata.modified().expect("a time") != self.changed
    }
}

/// One invocation that succeeds far from its limit, and the report of the previous one.
fn quiet_invocation(number: usize) -> String {
    let at = 1000 * number;
    let (before, end) = (number.saturating_sub(1), at + 300);
    format!(
        "{} report q{before} success 94/192
         {} start q{number}
         {} log nothing to see
         {end} done q{number} success",
        at.saturating_sub(600),
        at + 100,
        at + 200
    )
}

/// Whole invocations succeed, with lines that mean nothing. Nothing in the journal has changed, so
/// the agent writes nothing, with or without the kernel's counter.
#[test]
fn quiet_invocations_write_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let vmstat = folder.path().join("vmstat");
    fs::write(&vmstat, "nr_free_pages 7\noom_kill 3\n").expect("a file");
    check_quiet_invocations(&[]);
    check_quiet_invocations(&[("OOM_WITNESS_VMSTAT", &vmstat.to_string_lossy())]);
}

fn check_quiet_invocations(variables: &[(&str, &str)]) {
    let mut script = Script::start_ready(variables);
    let mut sender = script.connect();
    assert_eq!(sender.post(oom_body()), 200);
    script.invoke();
    let watch = JournalWatch::start(&script);
    for number in 1..50 {
        script.invoke();
        for body in bodies(&quiet_invocation(number)) {
            assert_eq!(sender.post(body), 200);
        }
    }
    script.invoke();
    assert!(!watch.is_written());
    assert_eq!(sender.post(oom_body_of("B")), 200);
    script.invoke();
    assert!(watch.is_written());
    script.end(2).assert_warnings(0);
}

/// A folder for a journal, and the journal's path.
pub(super) fn folder_and_path() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    (folder, path)
}

/// Runs an agent, which `command` becomes, with a journal at `path`. It gets `scenario`, and counts
/// this often.
pub(super) fn run_agent(
    command: Command,
    path: &str,
    scenario: &str,
    metrics: usize,
) -> AgentOutput {
    run_agent_at(free_port(), command, path, scenario, metrics)
}

/// The same with this port, for several agents, one after another.
fn run_agent_at(
    port: u16,
    command: Command,
    path: &str,
    scenario: &str,
    metrics: usize,
) -> AgentOutput {
    let variables = [("OOM_WITNESS_STATE", path), ("OOM_WITNESS_PORT", &port.to_string())];
    let mut script = Script::start_by(command, Stdio::piped(), &variables).make_ready();
    for body in bodies(scenario) {
        script.post(body);
    }
    script.invoke();
    script.end(metrics)
}

/// It is cut or changed. The process then counts what comes next. `OOM_WITNESS_FAULTS=all` tries
/// every byte.
#[test]
fn a_journal_torn_at_any_byte_counts_as_none() {
    let (_folder, path) = folder_and_path();
    run_agent(Command::new(binary()), &path, OOM, 1);
    let whole = fs::read(&path).expect("a journal");
    let step = if is_all_asked_for() { 1 } else { 29 };
    let (next, port) = (OOM.replace(" A", " B"), free_port());
    let length = usize::from(u16::from_le_bytes([whole[8], whole[9]]));
    for at in (0..length).step_by(step) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        for (torn, is_ours) in
            [(&whole[..at], at == 0 || at >= MAGIC_SIZE), (&changed, at >= MAGIC_SIZE)]
        {
            fs::write(&path, torn).expect("a file");
            let output = run_agent_at(port, Command::new(binary()), &path, &next, 1);
            output.assert_warnings(usize::from(!is_ours));
        }
    }
    // The whole journal still says what was counted.
    fs::write(&path, &whole).expect("a file");
    run_agent(Command::new(binary()), &path, OOM, 0);
}

/// Each journal begins with these bytes. A file without them belongs to another program.
const MAGIC_SIZE: usize = b"oomwit".len();

/// The file is torn or holds something else.
#[test]
fn a_journal_that_cannot_be_read_does_not_stop_the_agent() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(OOM);
    let path = agent.environment.folder().join("oom-witness");
    let whole = fs::read(&path).expect("a journal");
    for torn in [&b""[..], b"{}", &[0xff; 100_000], &whole[..whole.len() / 2], &whole[1..]] {
        agent.restart(ShutdownReason::Spindown);
        fs::write(&path, torn).expect("a write");
    }
    agent.restart(ShutdownReason::Spindown);
    agent.post_scenario(&OOM.replace(" A", " B"));
    agent.end(2);
}

#[test]
fn a_function_that_empties_tmp_loses_no_count() {
    let mut agent = SandboxedAgent::start();
    let path = agent.environment.folder().join("oom-witness");
    agent.invoke("A");
    fs::remove_file(&path).expect("a journal");
    agent.post_scenario(OOM);
    agent.restart(ShutdownReason::Failure);
    agent.post_scenario(OOM);
    agent.end(1).assert_no_warning();
}

/// Neither a user's file at the journal's path nor a hard link to one is changed.
#[test]
fn a_file_of_another_program_is_left_alone() {
    let (folder, path) = folder_and_path();
    let theirs = "a user's notes, which are longer than any journal of ours. ".repeat(100);
    fs::write(&path, &theirs).expect("a file");
    run_agent(Command::new(binary()), &path, OOM, 1)
        .assert_warnings(1)
        .assert_once("not ours, which is left alone");
    assert_eq!(fs::read(&path).expect("a file"), theirs.as_bytes());

    let (other, link) = (folder.path().join("other"), folder.path().join("link"));
    fs::write(&other, "").expect("a file");
    fs::hard_link(&other, &link).expect("a link");
    let link = link.to_string_lossy();
    run_agent(Command::new(binary()), &link, OOM, 1)
        .assert_warnings(1)
        .assert_once("a hard link to a file");
    assert!(fs::read(&other).expect("a file").is_empty());
}

#[test]
fn a_path_where_no_journal_can_be_is_one_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (pipe, link) = (at("pipe"), at("link"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    std::os::unix::fs::symlink(at("elsewhere"), &link).expect("a link");
    for path in ["/dev/null/none", "/nowhere/journal", "/proc/journal", &at(""), &pipe, &link] {
        let mut script = Script::start_ready(&[("OOM_WITNESS_STATE", path)]);
        for scenario in [OOM, &OOM.replace(" A", " B")] {
            script.post(&bodies(scenario)[0]);
        }
        script.invoke();
        script.end(2).assert_warnings(1).assert_once("no journal at");
    }
    assert!(!folder.path().join("elsewhere").exists(), "the agent has followed a link");
}

/// The agent without root's right to write anywhere.
fn unprivileged_agent() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(binary());
    command
}

#[test]
fn a_file_or_folder_that_may_not_be_written_is_one_warning() {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let agent = || if is_root { unprivileged_agent() } else { Command::new(binary()) };
    let check_warning = |path: &str| {
        run_agent(agent(), path, OOM, 1).assert_warnings(1).assert_once("no journal at");
    };

    let (_folder, path) = folder_and_path();
    fs::write(&path, "somebody else's").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("a mode");
    check_warning(&path);
    assert_eq!(fs::read(&path).expect("a file"), b"somebody else's");

    let (folder, path) = folder_and_path();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).expect("a mode");
    check_warning(&path);
    assert!(!Path::new(&path).exists());
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("a mode");
}

/// The agent with a file system of 16 KiB for its journal. `first` runs before it.
fn agent_in_small_tmp(first: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size=16k none /mnt && {first} exec \"$0\"");
    command.args(["--mount", "/bin/sh", "-c", &script]).arg(binary());
    command
}

fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
    let works = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    needs(works, "right to mount a file system")
}

const FILL: &str = "dd if=/dev/zero of=/mnt/full bs=4096 2>/dev/null;";

#[test]
fn a_full_tmp_does_not_stop_the_agent() {
    if !may_mount() {
        return;
    }
    // It is full from the start: one warning, and everything else works.
    run_agent(agent_in_small_tmp(FILL), "/mnt/journal", OOM, 1)
        .assert_warnings(1)
        .assert_once("no journal at");

    // The function fills it later. The journal already has its blocks, and can still be written.
    let variables = [("OOM_WITNESS_STATE", "/mnt/journal")];
    let mut script =
        Script::start_by(agent_in_small_tmp(""), Stdio::piped(), &variables).make_ready();
    let tmp = PathBuf::from(format!("/proc/{}/root/mnt", script.pid()));
    let mut file = File::create(tmp.join("full")).expect("a file");
    while std::io::Write::write(&mut file, &[1; 512]).is_ok_and(|count| count > 0) {}
    let before = fs::read(tmp.join("journal")).expect("a journal");
    script.post(oom_body());
    script.invoke();
    assert_ne!(fs::read(tmp.join("journal")).expect("a journal"), before);
    script.end(1).assert_warnings(0);
}
