//! The results of suites as Markdown: RESULTS.md of this package.

use std::fmt::Write;
use std::fs;

use jiff::Timestamp;

use super::At;
use crate::cgroup::Version;

/// The file so far.
pub(super) struct Results(String);

impl Results {
    /// `names` are the suites that were asked for.
    pub(super) fn new(names: &str, place: At<'_>) -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let version = match place.version {
            Version::V1 => "v1",
            Version::V2 => "v2",
        };
        let date = Timestamp::now().strftime("%Y-%m-%d");
        Self(format!(
            "# Results\n\n\
             Written by `sandbox suite {names} --table FILE` on {date}: kernel\n\
             {}, cgroup {version}. `suspected`: the agent is not sure. Status, errorType and killed\n\
             processes are those of the first invocation. A run without a second one has no report\n\
             after a failure, as on AWS. No row comes from AWS: [README.md](README.md) says what only\n\
             AWS could tell.\n",
            kernel.trim()
        ))
    }

    /// Begins the table of a suite.
    pub(super) fn suite(&mut self, name: &str, header: &[&str]) {
        let _ = write!(self.0, "\n## Suite `{name}`\n\n");
        self.row(&header.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.row(&vec!["---".to_string(); header.len()]);
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        let line = cells.join(" | ").replace('\n', "<br>");
        let _ = writeln!(self.0, "| {line} |");
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}
