//! The scenarios of a runtime and their expected outcomes: `scenarios.toml` beside its handler.
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

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::outcome::InvocationOutcome;

/// One entry of a `scenarios.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What happens in it, in a sentence.
    #[serde(default)]
    pub about: String,
    /// The payload, JSON.
    #[serde(deserialize_with = "json")]
    pub payload: String,
    /// The memory sizes it holds at, in MB.
    pub memory: Vec<u64>,
    /// Variables for the function.
    #[serde(default)]
    pub variables: Vec<(String, String)>,
    /// The function's timeout in seconds.
    #[serde(default = "usual_timeout")]
    pub timeout: u64,
    /// Its expected outcome.
    #[serde(flatten)]
    pub(crate) expected: ExpectedOutcome,
    /// The kernel may kill the function instead, if the disk is busy. The agent then counts one.
    #[serde(default)]
    pub or_killed: bool,
}

/// The expected outcome of a run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ExpectedOutcome {
    /// The first invocation's status, like its errorType and its victims (in the words of
    /// [`crate::InvocationOutcome::killed`]).
    pub(crate) status: String,
    pub(crate) error_type: Option<String>,
    pub(crate) victim: String,
    /// How often the agent counts in the whole run.
    pub(crate) count: u32,
    /// The truth: does it run out of memory? If not, the agent must confirm nothing.
    pub(crate) out_of_memory: bool,
}

impl Scenario {
    /// The expected outcome, if the first invocation ended in this way.
    pub(crate) fn expected(&self, first: &InvocationOutcome) -> ExpectedOutcome {
        if self.or_killed && first.function_killed() {
            return ExpectedOutcome {
                status: "error".into(),
                error_type: Some("Runtime.OutOfMemory".into()),
                victim: "function".into(),
                count: 1,
                out_of_memory: true,
            };
        }
        self.expected.clone()
    }

    /// The difference between this outcome and the expected one.
    pub fn problem(&self, outcome: &InvocationOutcome) -> Option<String> {
        self.expected(outcome).problem(outcome)
    }
}

impl ExpectedOutcome {
    pub(crate) fn problem(&self, outcome: &InvocationOutcome) -> Option<String> {
        let seen = (outcome.status.name(), outcome.error_type.as_deref(), outcome.killed());
        let error_type = self.error_type.as_deref();
        let expected = (self.status.as_str(), error_type, self.victim.clone());
        (seen != expected).then(|| format!("{seen:?} instead of {expected:?}"))
    }
}

#[derive(Deserialize)]
struct Scenarios {
    scenario: Vec<Scenario>,
}

pub(crate) fn read(file: &Path) -> io::Result<Vec<Scenario>> {
    let all: Scenarios = toml::from_str(&fs::read_to_string(file)?).map_err(io::Error::other)?;
    Ok(all.scenario)
}

/// A table of TOML as JSON.
fn json<'de, D: Deserializer<'de>>(payload: D) -> Result<String, D::Error> {
    let payload = toml::Table::deserialize(payload)?;
    serde_json::to_string(&payload).map_err(D::Error::custom)
}

fn usual_timeout() -> u64 {
    60
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "name = 'a'\npayload = { behavior = 'b' }\nmemory = [128]\n\
        status = 'success'\nvictim = 'nobody'\ncount = 0\nout_of_memory = false\n";

    #[test]
    fn an_entry_is_read_and_a_misspelt_member_is_refused() {
        let scenario: Scenario = toml::from_str(ENTRY).expect("a scenario");
        assert_eq!((scenario.payload.as_str(), scenario.timeout), (r#"{"behavior":"b"}"#, 60));
        assert_eq!(scenario.expected.victim, "nobody");
        let misspelt = toml::from_str::<Scenario>(&format!("{ENTRY}or_kiled = true"));
        assert!(misspelt.expect_err("refused").to_string().contains("or_kiled"));
    }
}
