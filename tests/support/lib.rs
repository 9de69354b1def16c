//! What the tests share: the scenario language, and the way from a scenario to its detections.
//!
//! Nothing here knows how the core works inside: a scenario becomes bytes, the bytes go through the
//! public flow, and what comes out is compared as text.

mod cut_record;
mod json_oracle;
mod oracle;
mod run;
mod scenario;

pub use cut_record::check_cut_record;
pub use json_oracle::{expected_events, has_no_duplicates, tell};
pub use oracle::{Difference, Hindsight};
pub use run::{RunResult, evidence_in_pieces, run, run_in_pieces};
pub use scenario::{EventScript, ScriptStep};
