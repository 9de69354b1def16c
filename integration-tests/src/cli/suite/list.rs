//! The suites that are lists: `suites/NAME.toml`, the arguments of `sandbox run` and what comes of
//! them.
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

use crate::scenario::Expected;

/// One entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) about: String,
    /// The arguments of `sandbox run`.
    pub(super) run: String,
    /// What comes of it.
    #[serde(flatten)]
    pub(super) expected: Expected,
}

#[derive(Deserialize)]
struct List {
    case: Vec<Entry>,
}

pub(super) fn read(text: &str) -> io::Result<Vec<Entry>> {
    let list: List = toml::from_str(text).map_err(io::Error::other)?;
    Ok(list.case)
}

/// Managed Instances.
pub(super) const LMI: &str = include_str!("../../../suites/lmi.toml");

/// What Lambda does around an invocation that ends.
pub(super) const LIFECYCLE: &str = include_str!("../../../suites/lifecycle.toml");
