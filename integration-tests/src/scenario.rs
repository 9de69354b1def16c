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
    pub(crate) fn expected(&self) -> Expected {
        Expected {
            status: self.status.clone(),
            error_type: self.error_type.clone(),
            victim: self.victim.clone(),
            count: self.count,
            out_of_memory: self.out_of_memory,
        }
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
        })
    };
    all.scenario.into_iter().map(scenario).collect()
}

fn usual_timeout() -> u64 {
    60
}
