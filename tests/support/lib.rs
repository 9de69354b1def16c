//! What tests, benchmarks and fuzz targets share. No test lives here.
//!
//! | File | What it is for |
//! |---|---|
//! | `scenario` | a small language for what Lambda sends to an extension |
//! | `run` | from a scenario to its detections |
//! | `oracle` | a second detector, written to be simple, that sees all events at once |
//! | `json_oracle` | the events that serde_json finds in a batch |
//! | `cut_record` | a record that Lambda cut, given to scanners in every way |
//!
//! Nothing here knows how core works inside. A scenario becomes bytes, the bytes go through the
//! public flow, and the results are compared as text.

mod cut_record;
mod json_oracle;
mod oracle;
mod run;
mod scenario;

pub use cut_record::check_cut_record;
pub use json_oracle::{event_text, expected_events, has_no_duplicates};
pub use oracle::{Difference, Oracle};
pub use run::{RunResult, evidence_in_pieces, run, run_in_pieces, shutdown_reason};
pub use scenario::{EventScript, ScriptStep};
