//! The journal as a file: when the agent writes it, and what happens when it cannot.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use sandbox::{Intake, IntakeAnswer};
use tempfile::TempDir;

use super::needs;
use super::support::binary::binary;
use super::support::cost::port;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{AgentRecord, INVOKE, Script};

/// Notices whether the journal is written to from now on.
struct Watched {
    path: PathBuf,
    then: SystemTime,
}

impl Watched {
    fn new(script: &Script) -> Self {
        let watched =
            Self { path: script.journal(), then: SystemTime::UNIX_EPOCH + Duration::from_secs(1) };
        let file = File::options().write(true).open(&watched.path).expect("a journal");
        file.set_modified(watched.then).expect("a time");
        watched
    }

    fn is_written(&self) -> bool {
        let metadata = fs::metadata(&self.path).expect("a journal");
        metadata.modified().expect("a time") != self.then
    }
}

/// One invocation that succeeds far from its limit, and the report of the previous one.
fn quiet(number: usize) -> String {
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

/// Whole invocations succeed, with lines that mean nothing. Nothing worth keeping has changed, so
/// nothing is written, with or without the kernel's counter.
#[test]
fn quiet_invocations_write_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let vmstat = folder.path().join("vmstat");
    fs::write(&vmstat, "nr_free_pages 7\noom_kill 3\n").expect("a file");
    quiet_invocations(&[]);
    quiet_invocations(&[("OOM_WITNESS_VMSTAT", &vmstat.to_string_lossy())]);
}

fn quiet_invocations(variables: &[(&str, &str)]) {
    let mut script = Script::ready(variables);
    let mut sender = script.sender();
    assert_eq!(sender.post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    let watched = Watched::new(&script);
    for number in 1..50 {
        script.give(INVOKE);
        script.next();
        for body in bodies(&quiet(number)) {
            assert_eq!(sender.post(body), 200);
        }
    }
    script.give(INVOKE);
    script.next();
    assert!(!watched.is_written());
    assert_eq!(sender.post(&bodies(&OOM.replace(" A", " B"))[0]), 200);
    script.give(INVOKE);
    script.next();
    assert!(watched.is_written());
    script.end(2).warnings(0);
}

/// An agent with this standard output, its journal at `path`, and its listener at `port`.
fn ready_with(stdout: Stdio, path: &str, port: u16) -> Script {
    let variables = [("OOM_WITNESS_STATE", path), ("OOM_WITNESS_PORT", &port.to_string())];
    let mut script = Script::start_by(Command::new(binary()), stdout, &variables);
    script.port = port;
    script.prepared()
}

/// Stdout took nothing of it, so it counts as not tried.
#[test]
fn a_line_that_stdout_did_not_take_goes_out_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let port = port();
    let mut script = ready_with(full.into(), &path, port);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    script.end(0).once("written: 0, unwritten: 1");

    let script = ready_with(Stdio::piped(), &path, port);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.end(1).warnings(0).once("written: 1, unwritten: 0");
}

/// A pipe that nobody reads is full. The line waits until there is room.
#[test]
fn a_line_that_found_no_room_goes_out_when_there_is_some() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    // Both ends are open here, and neither blocks.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(O_NONBLOCK);
    let mut reader = options.open(&pipe).expect("a pipe");
    let mut filled = 0;
    while let Ok(count) = std::io::Write::write(&mut reader, &[b'\n'; 4096]) {
        filled += count;
    }
    let mut script = ready_with(reader.try_clone().expect("a descriptor").into(), &path, port());
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    let mut bytes = vec![0; filled];
    reader.read_exact(&mut bytes).expect("what was there");
    script.give(INVOKE);
    script.next();
    let mut line = vec![0; 4096];
    let length = reader.read(&mut line).expect("a line");
    let line = String::from_utf8_lossy(&line[..length]);
    assert_eq!(line.matches("\"aws.lambda.enhanced.out_of_memory\":1}\n").count(), 1, "{line}");
    script.end(0).warnings(1).once("written: 1, unwritten: 0");
}

const O_NONBLOCK: i32 = 0o4000;

/// Runs an agent, which `command` becomes, with a journal at `path`. It gets `scenario`, and counts
/// this often.
fn lives(command: Command, path: &str, scenario: &str, metrics: usize) -> AgentRecord {
    lives_at(port(), command, path, scenario, metrics)
}

/// The same with this port, for several agents in a row.
fn lives_at(
    port: u16,
    command: Command,
    path: &str,
    scenario: &str,
    metrics: usize,
) -> AgentRecord {
    let variables = [("OOM_WITNESS_STATE", path), ("OOM_WITNESS_PORT", &port.to_string())];
    let mut script = Script::start_by(command, Stdio::piped(), &variables);
    script.register();
    let subscription = script.subscribe().body;
    // The port of the previous process, where Lambda posts.
    let port = subscription.rsplit_once(':').and_then(|(_, rest)| rest.split(['/', '"']).next());
    script.port = port.and_then(|port| port.parse().ok()).expect("a port");
    script.next();
    for body in bodies(scenario) {
        assert_eq!(script.sender().post(body), 200);
    }
    script.give(INVOKE);
    script.next();
    script.end(metrics)
}

/// A folder for a journal, and the journal's path.
fn place() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal").to_string_lossy().into_owned();
    (folder, path)
}

/// A journal that is cut or changed at any byte is ignored. The process then counts what comes
/// next. `OOM_WITNESS_FAULTS` tries every byte.
#[test]
fn a_journal_torn_anywhere() {
    let (_folder, path) = place();
    lives(Command::new(binary()), &path, OOM, 1);
    let whole = fs::read(&path).expect("a journal");
    let step = if std::env::var_os("OOM_WITNESS_FAULTS").is_some() { 1 } else { 29 };
    let (next, port) = (OOM.replace(" A", " B"), port());
    let length = usize::from(u16::from_le_bytes([whole[8], whole[9]]));
    for at in (0..length).step_by(step) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        for (torn, is_ours) in [(&whole[..at], at == 0 || at >= NAME), (&changed, at >= NAME)] {
            fs::write(&path, torn).expect("a file");
            let left = lives_at(port, Command::new(binary()), &path, &next, 1);
            left.warnings(usize::from(!is_ours));
        }
    }
    // The whole journal still says what was counted.
    fs::write(&path, &whole).expect("a file");
    lives(Command::new(binary()), &path, OOM, 0);
}

/// Each journal begins with these bytes. A file without them belongs to another program.
const NAME: usize = b"oomwit".len();

/// A user's file at the journal's path, or a hard link to one, stays as it is.
#[test]
fn a_file_of_another_program_is_left_alone() {
    let (folder, path) = place();
    let theirs = "a user's notes, which are longer than any journal of ours. ".repeat(100);
    fs::write(&path, &theirs).expect("a file");
    lives(Command::new(binary()), &path, OOM, 1).warnings(1).once("not ours, which is left alone");
    assert_eq!(fs::read(&path).expect("a file"), theirs.as_bytes());

    let (other, link) = (folder.path().join("other"), folder.path().join("link"));
    fs::write(&other, "").expect("a file");
    fs::hard_link(&other, &link).expect("a link");
    let link = link.to_string_lossy();
    lives(Command::new(binary()), &link, OOM, 1).warnings(1).once("a hard link to a file");
    assert!(fs::read(&other).expect("a file").is_empty());
}

/// The agent without the right of root to write anywhere.
fn unprivileged() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(binary());
    command
}

#[test]
fn a_file_or_a_folder_that_may_not_be_written() {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let agent = || if is_root { unprivileged() } else { Command::new(binary()) };
    let warned = |path: &str| {
        lives(agent(), path, OOM, 1).warnings(1).once("no journal at");
    };

    let (_folder, path) = place();
    fs::write(&path, "somebody else's").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("a mode");
    warned(&path);
    assert_eq!(fs::read(&path).expect("a file"), b"somebody else's");

    let (folder, path) = place();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).expect("a mode");
    warned(&path);
    assert!(!Path::new(&path).exists());
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("a mode");
}

/// Runs the agent with a /tmp of its own of 16 KiB. `first` runs in it before.
fn in_small_tmp(first: &str) -> Command {
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
fn a_full_tmp() {
    if !may_mount() {
        return;
    }
    // The /tmp is full from the start: one warning, and everything else goes on.
    lives(in_small_tmp(FILL), "/mnt/journal", OOM, 1).warnings(1).once("no journal at");

    // The function fills it later. The journal already has its blocks, and still takes everything.
    let variables = [("OOM_WITNESS_STATE", "/mnt/journal")];
    let mut script = Script::start_by(in_small_tmp(""), Stdio::piped(), &variables).prepared();
    let tmp = PathBuf::from(format!("/proc/{}/root/mnt", script.pid()));
    let mut file = File::create(tmp.join("full")).expect("a file");
    while std::io::Write::write(&mut file, &[1; 512]).is_ok_and(|count| count > 0) {}
    let before = fs::read(tmp.join("journal")).expect("a journal");
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    assert_ne!(fs::read(tmp.join("journal")).expect("a journal"), before);
    script.end(1).warnings(0);
}

/// The same request id with another start is another attempt, also for the next process.
#[test]
fn a_retry_after_a_restart_is_another_attempt() {
    let (_folder, path) = place();
    let agent = || Command::new(binary());
    let retry = "300 start A\n 400 done A error Runtime.OutOfMemory\n 410 report A error 192/192";
    lives(agent(), &path, OOM, 1).warnings(0);
    lives(agent(), &path, &format!("{OOM}\n{retry}"), 1);
    lives(agent(), &path, &format!("{OOM}\n{retry}"), 0);
}

/// The intake has the request and does not answer, and the agent is killed. Nobody knows whether it
/// arrived. So the next process does not send it again, and says so.
#[test]
fn a_send_that_a_kill_interrupted_is_unknown() {
    let intake = Intake::start().expect("an intake");
    let delay = Duration::from_secs(600);
    intake.answer_all(IntakeAnswer { delay, ..IntakeAnswer::default() });
    let (_folder, path) = place();
    let (url, port) = (intake.http_url(), port().to_string());
    let variables = [
        ("OOM_WITNESS_STATE", path.as_str()),
        ("OOM_WITNESS_PORT", &port),
        ("DD_API_KEY", "k"),
        ("DD_URL", &url),
    ];
    let start = || {
        let mut script = Script::start(&variables);
        script.port = port.parse().expect("a port");
        script.prepared()
    };
    let mut script = start();
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    while intake.requests().is_empty() {
        std::thread::yield_now();
    }
    drop(script);
    intake.answer_all(IntakeAnswer::default());

    let mut script = start();
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    let left = script.end(0);
    left.once("datadog may have a metric of the previous process").once("unknown: 1,");
    left.once("was killed in this environment").warnings(2);
    assert_eq!(intake.requests().len(), 1);
}
