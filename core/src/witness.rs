//! [`Witness`]: a scanner and a detector in one value, for an agent that needs no more.

use core::fmt;

use crate::detect::detection::Detection;
use crate::detect::detector::{Detector, Settings};
use crate::scan::event::Event;
use crate::scan::extensions::ShutdownReason;
use crate::scan::scanner::{Scanner, Skipped};

/// From the bytes of telemetry, or from events that were read elsewhere, to detections.
///
/// It takes the memory of both and never grows. An agent that Lambda posts to over several
/// connections needs a scanner for each, and one detector.
///
/// ```
/// use oom_witness_core::{Settings, Witness};
///
/// let body = br#"[{"time":"2026-11-22T07:34:59.808Z","type":"platform.runtimeDone",
///   "record":{"requestId":"3c1a12d9","status":"error","errorType":"Runtime.OutOfMemory"}}]"#;
/// let mut witness = Witness::new(Settings::default());
/// let mut ids = Vec::new();
/// let mut on_detection = |detection: &oom_witness_core::Detection| {
///     ids.extend(detection.subject.request_id().copied());
/// };
/// witness.feed(body, 0, &mut on_detection);
/// witness.end_body(0, &mut on_detection);
/// assert_eq!(ids[0].as_str(), "3c1a12d9");
/// ```
pub struct Witness {
    scanner: Scanner,
    detector: Detector,
}

/// Takes each detection.
type OnDetection<'a> = dyn FnMut(&Detection) + 'a;

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("skipped", &self.skipped())
            .field("counters", &self.detector.counters())
            .finish_non_exhaustive()
    }
}

impl Witness {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { scanner: Scanner::new(), detector: Detector::new(settings) }
    }

    /// Goes on with a detector, such as one after [`Detector::restore`], and a new scanner.
    #[must_use]
    pub const fn with_detector(detector: Detector) -> Self {
        Self { scanner: Scanner::new(), detector }
    }

    /// Takes the next piece of a telemetry body. `now_ms` (milliseconds since the epoch) replaces
    /// a missing time.
    pub fn feed(&mut self, piece: &[u8], now_ms: u64, emit: &mut OnDetection<'_>) {
        let Self { scanner, detector } = self;
        scanner.feed(piece, &mut |event| detector.observe(event, now_ms, emit));
    }

    /// The body is complete.
    pub fn end_body(&mut self, now_ms: u64, emit: &mut OnDetection<'_>) {
        let Self { scanner, detector } = self;
        scanner.end_body(&mut |event| detector.observe(event, now_ms, emit));
    }

    /// The connection ended before the body's last byte ([`Scanner::abort_body`]).
    pub fn abort_body(&mut self, now_ms: u64, emit: &mut OnDetection<'_>) {
        let Self { scanner, detector } = self;
        scanner.abort_body(&mut |event| detector.observe(event, now_ms, emit));
    }

    /// Takes an event that the caller has read itself.
    pub fn observe(&mut self, event: &Event, now_ms: u64, emit: &mut OnDetection<'_>) {
        self.detector.observe(event, now_ms, emit);
    }

    /// The environment ends ([`Detector::shutdown`]).
    pub fn shutdown(&mut self, reason: ShutdownReason, emit: &mut OnDetection<'_>) {
        self.detector.shutdown(reason, emit);
    }

    /// What the scanner has left out.
    #[must_use]
    pub const fn skipped(&self) -> Skipped {
        self.scanner.skipped()
    }

    /// The detector: its counters, its snapshot, and the kernel's kills.
    #[must_use]
    pub const fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The same, to tell it more.
    pub const fn detector_mut(&mut self) -> &mut Detector {
        &mut self.detector
    }
}
