//! A detection as one English sentence for a log.
//!
//! `oom-witness: invocation 3c1a12d9-... ran out of memory (confirmed: error_type,
//! memory_at_limit; status error; 128 of 128 MB used)`
//!
//! `oom-witness: invocation 3c1a12d9-... came near the memory limit (118 of 128 MB used)`

use super::writer::Writer;
use crate::Error;
use crate::detect::detection::{Confidence, Detection, DetectionKind, Subject};
use crate::scan::event::Status;
use crate::scan::evidence::EvidenceSet;

/// Writes the sentence, without a line break, and returns its length.
///
/// # Errors
/// [`Error::BufferFull`] if it does not fit. [`SENTENCE_SIZE`](crate::sizes::SENTENCE_SIZE) is
/// always enough.
pub fn write(detection: &Detection, out: &mut [u8]) -> Result<usize, Error> {
    let mut writer = Writer::new(out);
    sentence(&mut writer, detection);
    writer.finish()
}

/// Each byte is printable ASCII and no quote, so the sentence needs no escapes in JSON. The request
/// id is escaped here.
pub(super) fn sentence(writer: &mut Writer<'_>, detection: &Detection) {
    writer.raw("oom-witness: ");
    if detection.count == 0 {
        return writer.raw("this is a test metric: nothing has run out of memory");
    }
    match &detection.subject {
        _ if detection.count > 1 => {
            writer.number(detection.count.into());
            writer.raw(" invocations");
        }
        Subject::Environment => writer.raw("the environment"),
        Subject::Init => writer.raw("the init"),
        Subject::Invocation(id) => {
            writer.raw("invocation ");
            writer.escaped(id.as_str());
        }
        Subject::Restore => writer.raw("the restore"),
    }
    let is_high_water = detection.kind == DetectionKind::HighWater;
    writer.raw(match detection.confidence {
        _ if is_high_water => " came near the memory limit (",
        Confidence::Confirmed => " ran out of memory (confirmed: ",
        Confidence::Suspected => " may have run out of memory (suspected: ",
    });
    evidence(writer, detection.evidence);
    if detection.status != Status::Unknown && !is_high_water {
        writer.raw("; status ");
        writer.raw(detection.status.as_str());
    }
    match (detection.max_memory_used_mb, detection.memory_size_mb) {
        (Some(used), Some(size)) => {
            writer.raw(if is_high_water { "" } else { "; " });
            writer.number(used.into());
            writer.raw(" of ");
            writer.number(size.into());
            writer.raw(" MB used");
        }
        (None, Some(size)) => {
            writer.raw("; limit ");
            writer.number(size.into());
            writer.raw(" MB");
        }
        (Some(_) | None, None) => {}
    }
    writer.raw(")");
}

/// The kinds of evidence, strongest first, separated by commas.
pub(super) fn evidence(writer: &mut Writer<'_>, set: EvidenceSet) {
    for (index, kind) in set.iter().enumerate() {
        writer.raw(if index == 0 { "" } else { "," });
        writer.raw(kind.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detection::StartKind;
    use crate::scan::event::RequestId;
    use crate::scan::evidence::Evidence;
    use crate::sizes::{REQUEST_ID_MAX, SENTENCE_SIZE};

    #[test]
    fn the_longest_sentence_fits_its_buffer() {
        let id = RequestId::try_from([b'"'; REQUEST_ID_MAX].as_slice()).unwrap();
        for status in [Status::Error, Status::Failure, Status::Success, Status::Timeout] {
            let detection = Detection {
                kind: DetectionKind::OutOfMemory,
                subject: Subject::Invocation(id),
                evidence: EvidenceSet::of(&Evidence::ALL),
                confidence: Confidence::Suspected,
                status,
                time_ms: 0,
                memory_size_mb: Some(u32::MAX),
                max_memory_used_mb: Some(u32::MAX),
                start: StartKind::Unknown,
                count: 1,
            };
            let length = write(&detection, &mut [0; SENTENCE_SIZE]);
            assert!(length.is_ok(), "{status:?}");
        }
    }
}
