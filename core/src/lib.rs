//! Detects which Lambda invocations ran out of memory, from the bytes of the Telemetry API.
//!
//! `bytes -> Scanner -> Event -> Detector -> Detection -> Metric -> format -> bytes`
//!
//! `no_std`, no allocator, no clock (time is an argument), no I/O, no log calls, no panic. Every
//! type has a fixed size, and no input makes anything grow. Each step counts what it drops.
//!
//! Each part of the flow is a folder, which imports only from the folders before it:
//!
//! | Folder | In | Out |
//! |---|---|---|
//! | `scan` | bytes of a telemetry body | events |
//! | `detect` | events | detections |
//! | [`format`](mod@format) | detections | bytes of a metric |
//!
//! ```
//! use oom_witness_core::{Detector, Event, Metric, Scanner, Settings, Source, format};
//!
//! let batch = br#"[
//!   {"time":"2026-11-22T07:34:59.678Z","type":"platform.start",
//!    "record":{"requestId":"3c1a12d9-9e13-4869-b291-e5945001f202"}},
//!   {"time":"2026-11-22T07:34:59.808Z","type":"platform.runtimeDone",
//!    "record":{"requestId":"3c1a12d9-9e13-4869-b291-e5945001f202",
//!              "status":"error","errorType":"Runtime.OutOfMemory"}}]"#;
//! let now_ms = 1_795_332_899_900;
//!
//! let mut scanner = Scanner::new();
//! let mut detector = Detector::new(Settings::default());
//! let mut line = [0; 1024];
//! let mut len = 0;
//! let mut on_event = |event: &Event| {
//!     detector.observe(event, now_ms, &mut |detection| {
//!         let source = Source { function_name: "resize", ..Source::default() };
//!         let metric = Metric::new(detection, &source);
//!         len = format::emf::write(&metric, "OomWitness", &mut line).unwrap();
//!     });
//! };
//! for piece in batch.chunks(7) {
//!     scanner.feed(piece, &mut on_event);
//! }
//! scanner.end_body(&mut on_event);
//! let line = core::str::from_utf8(&line[..len]).unwrap();
//! assert!(line.starts_with(r#"{"_aws":{"Timestamp":1795332899808,"#), "{line}");
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod sizes;

mod buffer;
mod decimal;
mod error;
pub mod hash;
mod time;

mod scan;

mod detect;

mod witness;

pub mod format;

pub use detect::detection::{Confidence, Detection, DetectionKind, StartKind, Subject};
pub use detect::detector::{Counters, Detector, Settings, Suspected};
pub use error::Error;
pub use format::metric::{HIGH_WATER_METRIC_NAME, METRIC_NAME, Metric, Source};
pub use scan::event::{
    ErrorType, Event, EventKind, InitializationType, LogLine, Phase, PhaseOutcome, Report,
    RequestId, Status,
};
pub use scan::evidence::{Evidence, EvidenceSet};
pub use scan::extensions::{self, ShutdownReason};
pub use scan::runtime::Runtime;
pub use scan::scanner::{Scanner, Skipped};
pub use time::{TEXT_LEN as TIMESTAMP_LEN, parse_rfc3339_ms, write_rfc3339_ms};
pub use witness::Witness;

/// The program in the package's page is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
