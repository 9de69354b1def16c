//! The outcome of an invocation or of an init: the platform's view, and what the kernel killed.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// A status, in Lambda's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// `success`: also when the runtime itself reported an error.
    Success,
    /// `error`: the runtime or an extension ended.
    Error,
    /// `timeout`.
    Timeout,
    /// `failure`: Managed Instances, where nobody answered.
    Failure,
}

impl Status {
    /// Lambda's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// A process that the kernel killed for memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Victim {
    /// The runtime process: it ended by a SIGKILL that was not ours while the counter rose.
    Function,
    /// An extension, by name. It is recognised in the same way.
    Extension(String),
    /// Further kills of the counter: processes that are no children of the sandbox, such as workers
    /// of the function. The kernel's counter does not say which.
    Other(u64),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function => f.write_str("function"),
            Self::Extension(name) => write!(f, "extension {name}"),
            Self::Other(1) => f.write_str("1 worker"),
            Self::Other(count) => write!(f, "{count} workers"),
        }
    }
}

/// What the runtime answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuntimeAnswer {
    /// Through `/response`.
    Response(String),
    /// Through `/error`: an error that the runtime handled itself.
    Error(String),
}

impl RuntimeAnswer {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Response(body) | Self::Error(body) => body.len(),
        }
    }
}

/// The outcome of one invocation.
#[derive(Clone, Debug)]
pub struct InvocationOutcome {
    /// Its request id.
    pub request_id: String,
    /// Its status.
    pub status: Status,
    /// `errorType` of its runtimeDone and report.
    pub error_type: Option<String>,
    /// What the runtime answered, if it did. There is none after a crash of an extension.
    pub answer: Option<RuntimeAnswer>,
    /// How far the cgroup's `oom_kill` counter rose from start to the end of the shutdown.
    pub oom_kills: u64,
    /// The processes that the kernel killed.
    pub victims: Vec<Victim>,
    /// `maxMemoryUsedMB` of its report.
    pub max_memory_used_mb: u64,
    /// `durationMs`.
    pub duration: Duration,
    /// How the runtime process ended, if it ended by itself.
    pub runtime_exit: Option<ExitStatus>,
    /// How each extension ended, if the invocation took the environment down. `None`: it was still
    /// there at the deadline and was killed.
    pub extension_exits: Vec<(String, Option<ExitStatus>)>,
}

impl InvocationOutcome {
    /// The kernel killed the runtime itself.
    pub fn function_killed(&self) -> bool {
        self.victims.contains(&Victim::Function)
    }

    /// The kernel killed an extension.
    pub fn extension_killed(&self) -> bool {
        self.victims.iter().any(|victim| matches!(victim, Victim::Extension(_)))
    }

    /// Victims in words.
    pub fn killed(&self) -> String {
        let words: Vec<_> = self.victims.iter().map(Victim::to_string).collect();
        if words.is_empty() { "nobody".into() } else { words.join(", ") }
    }
}

/// The outcome of an init.
#[derive(Clone, Debug)]
pub struct InitOutcome {
    /// Its status.
    pub status: Status,
    /// Its `errorType`.
    pub error_type: Option<String>,
    /// How far the cgroup's `oom_kill` counter rose in it.
    pub oom_kills: u64,
    /// The restore from a snapshot failed.
    pub in_restore: bool,
}

/// Names the victims from the exits that were not ours and the rise of the counter.
pub(crate) fn victims(
    runtime: Option<ExitStatus>,
    extensions: &[(String, Option<ExitStatus>)],
    kills: u64,
) -> Vec<Victim> {
    let killed = |exit: Option<ExitStatus>| exit.and_then(|exit| exit.signal()) == Some(SIGKILL);
    let mut victims = Vec::new();
    let mut left = kills;
    if left > 0 && killed(runtime) {
        victims.push(Victim::Function);
        left -= 1;
    }
    for (name, exit) in extensions {
        if left > 0 && killed(*exit) {
            victims.push(Victim::Extension(name.clone()));
            left -= 1;
        }
    }
    if left > 0 {
        victims.push(Victim::Other(left));
    }
    victims
}

pub(crate) const SIGKILL: i32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn killed() -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(SIGKILL))
    }

    fn exited(code: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn a_kill_needs_both_the_signal_and_the_counter() {
        assert_eq!(victims(killed(), &[], 1), [Victim::Function]);
        assert_eq!(victims(killed(), &[], 0), []);
        assert_eq!(victims(exited(137), &[], 1), [Victim::Other(1)]);
        assert_eq!(victims(None, &[], 1), [Victim::Other(1)]);
    }

    #[test]
    fn an_extension_is_named_and_the_rest_is_counted() {
        let extensions = [("a".to_string(), None), ("b".to_string(), killed())];
        let expected = [Victim::Function, Victim::Extension("b".into()), Victim::Other(3)];
        assert_eq!(victims(killed(), &extensions, 5), expected);
    }
}
