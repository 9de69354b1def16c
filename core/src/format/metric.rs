//! A [`Detection`] as a metric: its name, its value, and the labels that all wire formats use.

use crate::detect::detection::{Detection, DetectionKind};
use crate::scan::runtime::Runtime;

/// The metric's name. Datadog's own extension uses the same, so existing monitors work.
pub const METRIC_NAME: &str = "aws.lambda.enhanced.out_of_memory";

/// The name of the metric that warns: the high-water mark in MB, when it comes near the limit.
pub const HIGH_WATER_METRIC_NAME: &str = "oom_witness.max_memory_used_mb";

/// One detection as a number, ready for a [`format`](crate::format).
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// The detection.
    pub detection: &'a Detection,
    /// The function that it is about.
    pub source: &'a Source<'a>,
    /// The time to send, in milliseconds since the epoch. It is the detection's own, or the present
    /// if the sink takes nothing that old.
    pub time_ms: u64,
    /// True if `time_ms` is not the detection's own.
    pub late: bool,
}

impl<'a> Metric<'a> {
    /// The metric of a detection, at the detection's own time.
    #[must_use]
    pub const fn new(detection: &'a Detection, source: &'a Source<'a>) -> Self {
        Self { detection, source, time_ms: detection.time_ms, late: false }
    }

    /// True if it warns that the memory comes near the limit.
    #[must_use]
    pub fn is_high_water(&self) -> bool {
        self.detection.kind == DetectionKind::HighWater
    }

    /// Its name, other than in datagrams.
    #[inline(never)]
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.is_high_water() { HIGH_WATER_METRIC_NAME } else { METRIC_NAME }
    }

    /// A count of attempts, or the high-water mark in MB.
    #[inline(never)]
    #[must_use]
    pub fn value(&self) -> u64 {
        let Detection { count, max_memory_used_mb, .. } = *self.detection;
        let mark_mb = max_memory_used_mb.unwrap_or_default();
        if self.is_high_water() { mark_mb.into() } else { count.into() }
    }

    /// A detection that is `age_max_ms` or more older than `now_ms` gets the present time, and is
    /// marked late. Datadog takes no distribution point older than an hour.
    #[must_use]
    pub const fn not_older(mut self, now_ms: u64, age_max_ms: u64) -> Self {
        if now_ms.saturating_sub(self.detection.time_ms) >= age_max_ms {
            self.time_ms = now_ms;
            self.late = true;
        }
        self
    }
}

/// The function that the agent watches. A text that is not known is empty. Each document fits its
/// buffer if the escaped texts ([`escaped_size`](crate::format::escaped_size)) keep to their limits
/// in [`sizes`](crate::sizes).
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function_name: &'a str,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub function_version: &'a str,
    /// `AWS_REGION`.
    pub region: &'a str,
    /// The account id from the registration.
    pub account_id: &'a str,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization_type: &'a str,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, as text.
    pub memory_size_mb: &'a str,
    /// The runtime ([`Detector::runtime`](crate::Detector::runtime)).
    pub runtime: Runtime,
}

/// The partition of AWS that a region belongs to, as ARNs name it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).
pub(super) fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
