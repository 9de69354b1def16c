//! What a runtime's function must come to: `scenarios.toml` beside its handler.
//!
//! ```toml
//! [[scenario]]
//! name = "heap"
//! about = "V8 gives up at its own limit"
//! payload = { behavior = "heap" }
//! memory = [128, 192]
//! variables = [["SANDBOX_NODE_OPTIONS", "--max-old-space-size=48"]]
//! timeout = 60
//! status = "error"
//! error_type = "Runtime.ExitError"
//! victim = "nobody"
//! count = 1
//! out_of_memory = true
//! ```

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::outcome::Outcome;

/// One entry of a `scenarios.toml`.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What happens in it, in a sentence.
    pub about: String,
    /// The payload, JSON.
    pub payload: String,
    /// The memory sizes it holds at, in MB.
    pub memory: Vec<u64>,
    /// Variables for the function.
    pub variables: Vec<(String, String)>,
    /// The function's timeout in seconds.
    pub timeout: u64,
    /// The status of its report.
    pub status: String,
    /// The errorType of its report.
    pub error_type: Option<String>,
    /// Whom the kernel kills, in the words of [`crate::Outcome::killed`].
    pub victim: String,
    /// How often the agent counts.
    pub count: u32,
    /// The truth: does this invocation fail for want of memory?
    pub out_of_memory: bool,
    /// The kernel may as well kill the function: how busy the disk is decides. It counts once then.
    pub or_killed: bool,
}

/// What must come of a run.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Status, errorType and victim are the first invocation's.
    pub(crate) status: String,
    pub(crate) error_type: Option<String>,
    pub(crate) victim: String,
    /// How often the agent counts, in the whole run.
    pub(crate) count: u32,
    /// False: nothing may be called confirmed.
    pub(crate) out_of_memory: bool,
}

impl Scenario {
    /// What must come of it where its first invocation ended in this way.
    pub(crate) fn expected(&self, first: Option<&Outcome>) -> Expected {
        if self.or_killed && first.is_some_and(Outcome::function_killed) {
            return Expected {
                status: "error".into(),
                error_type: Some("Runtime.OutOfMemory".into()),
                victim: "function".into(),
                count: 1,
                out_of_memory: true,
            };
        }
        Expected {
            status: self.status.clone(),
            error_type: self.error_type.clone(),
            victim: self.victim.clone(),
            count: self.count,
            out_of_memory: self.out_of_memory,
        }
    }

    /// What is not as it says in the end of its invocation.
    #[must_use]
    pub fn problem(&self, outcome: &Outcome) -> Option<String> {
        self.expected(Some(outcome)).problem(outcome)
    }
}

impl Expected {
    pub(crate) fn problem(&self, outcome: &Outcome) -> Option<String> {
        let seen = (outcome.status.name(), outcome.error_type.as_deref(), outcome.killed());
        let error_type = self.error_type.as_deref();
        let expected = (self.status.as_str(), error_type, self.victim.clone());
        (seen != expected).then(|| format!("{seen:?} instead of {expected:?}"))
    }
}

#[derive(Deserialize)]
struct Scenarios {
    scenario: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    about: String,
    payload: toml::Table,
    memory: Vec<u64>,
    #[serde(default)]
    variables: Vec<(String, String)>,
    #[serde(default = "usual_timeout")]
    timeout: u64,
    status: String,
    error_type: Option<String>,
    victim: String,
    count: u32,
    out_of_memory: bool,
    #[serde(default)]
    or_killed: bool,
}

pub(crate) fn read(file: &Path) -> io::Result<Vec<Scenario>> {
    let text = fs::read_to_string(file)?;
    let all: Scenarios = toml::from_str(&text).map_err(io::Error::other)?;
    let scenario = |entry: Entry| {
        Ok(Scenario {
            payload: serde_json::to_string(&entry.payload).map_err(io::Error::other)?,
            name: entry.name,
            about: entry.about,
            memory: entry.memory,
            variables: entry.variables,
            timeout: entry.timeout,
            status: entry.status,
            error_type: entry.error_type,
            victim: entry.victim,
            count: entry.count,
            out_of_memory: entry.out_of_memory,
            or_killed: entry.or_killed,
        })
    };
    all.scenario.into_iter().map(scenario).collect()
}

fn usual_timeout() -> u64 {
    60
}
