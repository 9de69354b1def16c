//! The one table of variables, and what `oom-witness --help` prints.
//!
//! The rows of the table are in the files that read the variables. `--check` shows the same table
//! with the values that are set.

use std::fmt::{self, Display, Formatter};

use crate::config;
use crate::delivery::sink::Sink;
#[cfg(feature = "network")]
use crate::delivery::{certificates, endpoint, proxy};
use crate::variable::VariableRow;

/// All rows, in the order in which they are shown.
pub(crate) fn rows() -> impl Iterator<Item = &'static VariableRow> {
    #[cfg(feature = "network")]
    let shared = [endpoint::VARIABLES, proxy::VARIABLES, certificates::VARIABLES];
    #[cfg(not(feature = "network"))]
    let shared = [];
    let of_sinks = Sink::ALL.iter().map(|sink| sink.variables());
    [config::VARIABLES].into_iter().chain(of_sinks).chain(shared).flatten()
}

/// The usage and all variables.
pub(crate) struct Help;

impl Display for Help {
    #[cold]
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(USAGE)?;
        for row in rows() {
            Display::fmt(row, out)?;
        }
        out.write_str("\nTo see it at work: cargo run --release -p integration-tests\n")
    }
}

const USAGE: &str = "\
oom-witness reports when an AWS Lambda function runs out of memory, and counts it exactly once.

Usage:
    oom-witness                   run as an extension; Lambda does this
    oom-witness --check           show what the variables mean, and which sinks are used
    oom-witness --check --send    also send a test metric, a count of 0, to each of them
    oom-witness send SINK         send one metric from stdin; the extension does this
    oom-witness --version
    oom-witness --help

--check ends with 0 if everything is used as it is set, with 1 if a variable is not, and with 3 if a
sink has not taken the test metric.

Variables:
";
