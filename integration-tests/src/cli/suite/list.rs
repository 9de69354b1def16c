//! The suites in `suites/NAME.toml`: the arguments of `sandbox run` and their expected outcomes.
//!
//! ```toml
//! [[case]]
//! name = "retry-succeeds"
//! about = "it is tried again and succeeds"
//! run = "builtin --behavior grow --invocations 2 --retry --then-succeed"
//! status = "error"
//! error_type = "Runtime.OutOfMemory"
//! victim = "function"
//! count = 1
//! out_of_memory = true
//! ```

use std::io;

use serde::Deserialize;

use super::super::args::{Label, SuiteName};
use crate::scenario::ExpectedOutcome;

/// One entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Entry {
    pub(in crate::cli) name: String,
    pub(in crate::cli) about: String,
    /// The arguments of `sandbox run`.
    pub(in crate::cli) run: String,
    /// Its expected outcome.
    #[serde(flatten)]
    pub(in crate::cli) expected: ExpectedOutcome,
    /// The labels of `sandbox record`, if `out_of_memory` is not the whole truth.
    #[serde(default)]
    pub(in crate::cli) label: Option<Label>,
    #[serde(default)]
    pub(in crate::cli) init_label: Option<Label>,
}

#[derive(Deserialize)]
struct List {
    case: Vec<Entry>,
}

/// The entries of a suite. `oom` has none, as its cells come from the runtimes.
pub(in crate::cli) fn read(suite: SuiteName) -> io::Result<Vec<Entry>> {
    let text = match suite {
        SuiteName::Oom => return Ok(Vec::new()),
        SuiteName::Lmi => include_str!("../../../suites/lmi.toml"),
        SuiteName::Lifecycle => include_str!("../../../suites/lifecycle.toml"),
    };
    let list: List = toml::from_str(text).map_err(io::Error::other)?;
    Ok(list.case)
}
