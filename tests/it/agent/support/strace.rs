//! strace(1) around the agent. It traces what the agent asks of the kernel, or makes calls fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::binary::binary;
use crate::agent::needs;

/// One run under strace.
pub(in crate::agent) struct Strace {
    folder: TempDir,
    options: Vec<String>,
}

/// One system call in a trace.
#[derive(Clone, Debug)]
pub(in crate::agent) struct TracedCall {
    pub(in crate::agent) name: String,
    pub(in crate::agent) line: String,
}

impl Strace {
    /// A run with these options.
    pub(in crate::agent) fn new(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, options: options.iter().map(|&option| option.into()).collect() }
    }

    /// A run in which the first `count` calls of `name` pass. The next one fails (`error=ENOMEM`)
    /// or brings a signal (`signal=KILL`).
    pub(in crate::agent) fn injecting(name: &str, what: &str, count: usize) -> Self {
        let inject = format!("inject={name}:{what}:when={}", count + 1);
        Self::new(&["-e", &format!("trace={name}"), "-e", &inject])
    }

    /// The agent under strace, without arguments yet.
    pub(in crate::agent) fn command(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(["-qq", "-o"]).arg(self.file()).args(&self.options).arg(binary());
        command
    }

    /// The trace.
    pub(in crate::agent) fn text(&self) -> String {
        let bytes = fs::read(self.file()).expect("a trace");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// True if the agent reached the call that was to fail.
    pub(in crate::agent) fn has_injected(&self) -> bool {
        let text = self.text();
        text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL +++")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("trace")
    }
}

/// The calls of a trace of one process.
pub(in crate::agent) fn calls(trace: &str) -> Vec<TracedCall> {
    let call = |line: &str| {
        let (name, _) = line.split_once('(')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_call = !name.is_empty() && name.bytes().all(is_name);
        is_call.then(|| TracedCall { name: name.into(), line: line.into() })
    };
    trace.lines().filter_map(call).collect()
}

/// For each name, how many system calls come before `main` and how many after it. Those before
/// `main` belong to libc and the loader. `main` begins with a look for closed streams.
pub(in crate::agent) fn before_and_after_main(
    calls: &[TracedCall],
) -> BTreeMap<String, (usize, usize)> {
    let is_first = |call: &TracedCall| call.line.contains("\"/dev/null\"");
    let main = calls.iter().position(is_first).expect("a look for closed streams");
    let mut counts = BTreeMap::<String, (usize, usize)>::new();
    for (index, call) in calls.iter().enumerate() {
        let (before, after) = counts.entry(call.name.clone()).or_default();
        *(if index < main { before } else { after }) += 1;
    }
    counts
}

/// True if there is strace(1) and it may trace.
pub(in crate::agent) fn available() -> bool {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "true"]).stdin(Stdio::null());
    let works = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    needs(works.is_ok_and(|status| status.success()), "strace, and the right to trace")
}
