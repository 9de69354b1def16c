//! What leaves: each detection, from the moment it is made until every sink has it.
//!
//! In: detections. Out: lines on stdout, datagrams, and requests that a child process makes.
//! Nothing here knows how a verdict is reached, and nothing here waits: the event loop says when.
//!
//! | File | What it does |
//! |---|---|
//! | `outbox`, `outbox/` | delivers each detection to its sinks |
//! | `queue` | the detections that wait, and how two of them are joined |
//! | `queued_detection` | one detection that waits, and the sinks that do not have it yet |
//! | `tally` | what became of the detections, as counters |
//! | `running_send`, `send_result` | a child that sends, and what its end means |
//! | `sink/` | everything about each sink |
//! | `proxy`, `certificates` | variables that all network sinks share |
//! | `key_source`, `endpoint` | where in AWS a sink's key is |

#[cfg(feature = "network")]
pub(crate) mod certificates;
#[cfg(feature = "network")]
pub(crate) mod endpoint;
#[cfg(feature = "network")]
pub(crate) mod key_source;
pub(crate) mod outbox;
#[cfg(feature = "network")]
pub(crate) mod proxy;
pub(crate) mod queue;
pub(crate) mod queued_detection;
pub(crate) mod running_send;
pub(crate) mod send_result;
pub(crate) mod sink;
pub(crate) mod tally;
