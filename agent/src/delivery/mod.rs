//! What leaves: each detection, from the moment it is made until every sink has it.
//!
//! In: detections. Out: lines on stdout, and requests that a child process makes. Nothing here knows
//! how a verdict is reached, and nothing here waits: the event loop says when.

pub(crate) mod outbox;
#[cfg(feature = "datadog")]
pub(crate) mod proxy;
pub(crate) mod sink;
