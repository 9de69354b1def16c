//! `DogStatsD`'s and `StatsD`'s datagrams: one metric each.
//!
//! ```text
//! oom_witness.out_of_memory:1|d|#confidence:confirmed,evidence:error_type
//! oom_witness.out_of_memory:1|c
//! oom_witness.max_memory_used_mb:118|d
//! oom_witness.max_memory_used_mb:118|g
//! ```
//!
//! (<https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/>,
//! <https://github.com/statsd/statsd/blob/master/docs/metric_types.md>)

use super::writer::Writer;
use crate::Error;
use crate::format::metric::{HIGH_WATER_METRIC_NAME, Metric};

/// The metric's name. Datadog's own extension counts under another name
/// ([`METRIC_NAME`](crate::METRIC_NAME)), so nothing counts twice where both are.
pub const DATAGRAM_METRIC_NAME: &str = "oom_witness.out_of_memory";

/// Writes the datagram of a distribution point with its tags, and returns its length. A datagram
/// has no time: the receiver takes the present. So a late metric has the tag `late:true`. The tags
/// of the function are the receiver's to add.
///
/// # Errors
/// [`Error::BufferFull`] if it does not fit. [`DATAGRAM_SIZE`](crate::sizes::DATAGRAM_SIZE) is
/// always enough.
pub fn write(metric: &Metric<'_>, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    name_and_value(&mut writer, metric);
    writer.raw("|d");
    if !metric.is_high_water() {
        writer.raw("|#confidence:");
        writer.raw(metric.detection.confidence.as_str());
    }
    for kind in metric.detection.evidence.iter() {
        writer.raw(",evidence:");
        writer.raw(kind.as_str());
    }
    if metric.late {
        writer.raw(if metric.is_high_water() { "|#late:true" } else { ",late:true" });
    }
    writer.finish()
}

/// Writes the datagram of a `StatsD` counter, or of a gauge for a high-water mark. They have no
/// tags. Returns its length.
///
/// # Errors
/// As in [`write()`].
pub fn write_statsd(metric: &Metric<'_>, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    name_and_value(&mut writer, metric);
    writer.raw(if metric.is_high_water() { "|g" } else { "|c" });
    writer.finish()
}

fn name_and_value(writer: &mut Writer<'_>, metric: &Metric<'_>) {
    let is_high_water = metric.is_high_water();
    writer.raw(if is_high_water { HIGH_WATER_METRIC_NAME } else { DATAGRAM_METRIC_NAME });
    writer.raw(":");
    writer.number(metric.value());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detection::{Confidence, Detection, DetectionKind, StartKind, Subject};
    use crate::format::metric::Source;
    use crate::scan::event::Status;
    use crate::scan::evidence::{Evidence, EvidenceSet};
    use crate::sizes::DATAGRAM_SIZE;

    fn detection(evidence: &[Evidence], count: u32) -> Detection {
        Detection {
            kind: DetectionKind::OutOfMemory,
            subject: Subject::Environment,
            evidence: EvidenceSet::of(evidence),
            confidence: Confidence::Confirmed,
            status: Status::Unknown,
            time_ms: 0,
            memory_size_mb: None,
            max_memory_used_mb: None,
            start: StartKind::Unknown,
            count,
        }
    }

    #[test]
    fn a_datagram_has_name_value_type_and_tags() {
        let detection = detection(&[Evidence::ErrorType, Evidence::MemoryAtLimit], 2);
        let source = Source::default();
        let metric = Metric::new(&detection, &source);
        let mut out = [0; DATAGRAM_SIZE];
        let length = write(&metric, &mut out).unwrap();
        assert_eq!(
            core::str::from_utf8(&out[..length]).unwrap(),
            "oom_witness.out_of_memory:2|d|#confidence:confirmed,evidence:error_type,\
             evidence:memory_at_limit"
        );
        let length = write_statsd(&metric, &mut out).unwrap();
        assert_eq!(&out[..length], b"oom_witness.out_of_memory:2|c");
        assert_eq!(write_statsd(&metric, &mut out[..length - 1]), Err(Error::BufferFull));
    }

    #[test]
    fn a_high_water_mark_has_its_own_name_and_no_confidence() {
        let detection = Detection {
            kind: DetectionKind::HighWater,
            max_memory_used_mb: Some(118),
            ..detection(&[], 1)
        };
        let source = Source::default();
        let metric = Metric::new(&detection, &source);
        let mut out = [0; DATAGRAM_SIZE];
        let length = write(&metric, &mut out).unwrap();
        assert_eq!(&out[..length], b"oom_witness.max_memory_used_mb:118|d");
        let length = write(&metric.not_older(9, 1), &mut out).unwrap();
        assert_eq!(&out[..length], b"oom_witness.max_memory_used_mb:118|d|#late:true");
        let length = write_statsd(&metric, &mut out).unwrap();
        assert_eq!(&out[..length], b"oom_witness.max_memory_used_mb:118|g");
    }

    #[test]
    fn the_longest_datagram_fits_its_buffer() {
        let detection = detection(&Evidence::ALL, u32::MAX);
        let source = Source::default();
        let metric = Metric::new(&detection, &source).not_older(u64::MAX, 1);
        assert!(write(&metric, &mut [0; DATAGRAM_SIZE]).is_ok());
    }
}
