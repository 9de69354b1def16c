//! From events to detections: all policy.
//!
//! In: [`Event`](crate::Event)s, the kernel's kills, and the time. Out: at most one
//! [`Detection`](crate::Detection) for each attempt.
//!
//! Nothing here has seen JSON, and nothing here knows metrics, sinks or a clock.
//!
//! | File | What it does |
//! |---|---|
//! | `detector` | gathers evidence on attempts and judges it |
//! | `attempt_table` | decides which attempt an event belongs to |
//! | `attempt`, `tombstone` | one attempt, and what is remembered of it after it left the table |
//! | `snapshot` | writes all of it for the next process, and reads it there |
//! | `detection` | the verdict |

pub(crate) mod detection;

pub(crate) mod snapshot;

pub(crate) mod attempt;
pub(crate) mod tombstone;

pub(crate) mod attempt_table;

pub(crate) mod detector;
