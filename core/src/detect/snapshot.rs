//! Writes a detector's evidence and counts as bytes that survive a restart, and reads them.
//!
//! Out: at most [`SNAPSHOT_SIZE`] bytes, little-endian, with a version and a checksum. In: such
//! bytes. Torn or foreign bytes are refused. Only the latest attempts are kept whole.
//!
//! ```text
//! length: u16 | attempts | held lines | ... | checksum: u64
//! ```

use crate::detect::detection::{Confidence, Detection, DetectionKind, StartKind, Subject};
use crate::hash::{self, fnv1a};
use crate::scan::event::{RequestId, Status};
use crate::scan::evidence::{Evidence, EvidenceSet};
use crate::scan::runtime::Runtime;
use crate::sizes::{
    DETECTION_SIZE, HELD_LINES_MAX, REQUEST_ID_MAX, RUNTIME_SIZE, SNAPSHOT_ROWS_MAX, SNAPSHOT_SIZE,
    SNAPSHOT_TOMBSTONES_MAX,
};
use crate::time::EventTime;

/// Appends to a fixed buffer. Everything fits, which the size asserts below check.
pub(crate) struct Encoder<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Encoder<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    pub(crate) fn word(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// Writes the largest number for a time that is not known.
    pub(crate) fn time(&mut self, time: EventTime) {
        self.word(time.get().unwrap_or(u64::MAX));
    }

    pub(crate) fn count(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn megabytes(&mut self, value: Option<u32>) {
        self.count(value.unwrap_or(0));
    }

    pub(crate) fn id(&mut self, id: Option<&RequestId>) {
        let text = id.map(RequestId::as_bytes).unwrap_or_default();
        self.byte(u8::try_from(text.len()).unwrap_or(0));
        let mut padded = [0; REQUEST_ID_MAX];
        for (slot, byte) in padded.iter_mut().zip(text) {
            *slot = *byte;
        }
        self.bytes(&padded);
    }

    pub(crate) fn status(&mut self, status: Status) {
        self.byte(match status {
            Status::Unknown => 0,
            Status::Error => 1,
            Status::Failure => 2,
            Status::Success => 3,
            Status::Timeout => 4,
        });
    }

    pub(crate) fn runtime(&mut self, runtime: Runtime) {
        self.bytes(&runtime.to_bytes());
        self.flag(runtime.is_durable());
    }

    fn start_kind(&mut self, start: StartKind) {
        self.byte(match start {
            StartKind::Unknown => 0,
            StartKind::Cold => 1,
            StartKind::Proactive => 2,
            StartKind::Warm => 3,
        });
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let rest = self.out.get_mut(self.len..).unwrap_or_default();
        if let Some(slot) = rest.get_mut(..bytes.len()) {
            slot.copy_from_slice(bytes);
            self.len = self.len.saturating_add(bytes.len());
        }
    }
}

/// Reads what an [`Encoder`] wrote. `None` for bytes that it cannot have written.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte != 0)
    }

    pub(crate) fn word(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn time(&mut self) -> Option<EventTime> {
        self.word().map(|time_ms| Some(time_ms).into())
    }

    pub(crate) fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn megabytes(&mut self) -> Option<Option<u32>> {
        self.count().map(|mb| (mb > 0).then_some(mb))
    }

    pub(crate) fn id(&mut self) -> Option<Option<RequestId>> {
        let len = usize::from(self.byte()?);
        let padded: [u8; REQUEST_ID_MAX] = self.array()?;
        let text = padded.get(..len)?;
        if text.is_empty() {
            return Some(None);
        }
        RequestId::try_from(text).ok().map(Some)
    }

    pub(crate) fn status(&mut self) -> Option<Status> {
        Some(match self.byte()? {
            0 => Status::Unknown,
            1 => Status::Error,
            2 => Status::Failure,
            3 => Status::Success,
            4 => Status::Timeout,
            _ => return None,
        })
    }

    pub(crate) fn evidence(&mut self) -> Option<Evidence> {
        let at = usize::from(self.byte()?);
        Evidence::ALL.get(at).copied()
    }

    pub(crate) fn runtime(&mut self) -> Option<Runtime> {
        let bytes = self.array()?;
        Some(Runtime::from_bytes(bytes, self.flag()?))
    }

    fn start_kind(&mut self) -> Option<StartKind> {
        Some(match self.byte()? {
            0 => StartKind::Unknown,
            1 => StartKind::Cold,
            2 => StartKind::Proactive,
            3 => StartKind::Warm,
            _ => return None,
        })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*head)
    }
}

pub(crate) fn encode_subject(encoder: &mut Encoder<'_>, subject: &Subject) {
    encoder.byte(match subject {
        Subject::Environment => 0,
        Subject::Init => 1,
        Subject::Invocation(_) => 2,
        Subject::Restore => 3,
    });
    encoder.id(subject.request_id());
}

pub(crate) fn decode_subject(decoder: &mut Decoder<'_>) -> Option<Subject> {
    let kind = decoder.byte()?;
    let id = decoder.id()?;
    Some(match (kind, id) {
        (0, None) => Subject::Environment,
        (1, None) => Subject::Init,
        (2, Some(id)) => Subject::Invocation(id),
        (3, None) => Subject::Restore,
        _ => return None,
    })
}

/// Writes a snapshot, its length first and its checksum last. Returns the length.
pub(crate) fn seal(out: &mut [u8; SNAPSHOT_SIZE], write: impl FnOnce(&mut Encoder<'_>)) -> usize {
    let mut encoder = Encoder { out, len: LENGTH_SIZE };
    write(&mut encoder);
    let body = encoder.len;
    let length = body.saturating_add(CHECKSUM_SIZE);
    if let Some(slot) = out.first_chunk_mut() {
        *slot = u16::try_from(length).unwrap_or(0).to_le_bytes();
    }
    let sum = checksum(out.get(..body).unwrap_or_default());
    if let Some(slot) = out.get_mut(body..length) {
        slot.copy_from_slice(&sum.to_le_bytes());
    }
    length
}

/// The content of a sealed snapshot. `None` if the length or the checksum is wrong. Bytes after the
/// checksum are ignored.
pub(crate) fn unseal(bytes: &[u8]) -> Option<Decoder<'_>> {
    let length = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let (body, sum) = bytes.get(..length)?.split_last_chunk::<CHECKSUM_SIZE>()?;
    let is_whole = u64::from_le_bytes(*sum) == checksum(body);
    is_whole.then_some(Decoder { rest: body.get(LENGTH_SIZE..)? })
}

/// The version is part of the sum, so that another version's snapshot is refused.
fn checksum(body: &[u8]) -> u64 {
    fnv1a(hash::START ^ u64::from(VERSION), body)
}

const LENGTH_SIZE: usize = size_of::<u16>();
const CHECKSUM_SIZE: usize = size_of::<u64>();

impl Detection {
    /// Writes the detection for a journal. [`Detection::decode`] reads it.
    pub fn encode(&self, out: &mut [u8; DETECTION_SIZE]) {
        let mut encoder = Encoder::new(out);
        encoder.flag(self.kind == DetectionKind::HighWater);
        encode_subject(&mut encoder, &self.subject);
        encoder.byte(self.evidence.to_bits());
        encoder.flag(self.confidence == Confidence::Confirmed);
        encoder.status(self.status);
        encoder.word(self.time_ms);
        encoder.megabytes(self.memory_size_mb);
        encoder.megabytes(self.max_memory_used_mb);
        encoder.start_kind(self.start);
        encoder.count(self.count);
    }

    /// Reads what [`Detection::encode`] wrote. `None` for bytes that it cannot have written.
    #[must_use]
    pub fn decode(bytes: &[u8; DETECTION_SIZE]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        Some(Self {
            kind: match decoder.flag()? {
                true => DetectionKind::HighWater,
                false => DetectionKind::OutOfMemory,
            },
            subject: decode_subject(&mut decoder)?,
            evidence: EvidenceSet::from_bits(decoder.byte()?),
            confidence: match decoder.flag()? {
                true => Confidence::Confirmed,
                false => Confidence::Suspected,
            },
            status: decoder.status()?,
            time_ms: decoder.word()?,
            memory_size_mb: decoder.megabytes()?,
            max_memory_used_mb: decoder.megabytes()?,
            start: decoder.start_kind()?,
            count: decoder.count()?,
        })
    }
}

/// Changes with each change of the format. A snapshot of another version is refused.
const VERSION: u8 = 4;

pub(crate) const ID_SIZE: usize = 1 + REQUEST_ID_MAX;
pub(crate) const SUBJECT_SIZE: usize = 1 + ID_SIZE;
pub(crate) const ROW_SIZE: usize = SUBJECT_SIZE + 5 * 8 + 2 * 4 + 7;
pub(crate) const TOMBSTONE_SIZE: usize = 4 * 8 + 2;
pub(crate) const LINE_SIZE: usize = ID_SIZE + 1 + 8 + 2;
/// The length, three counts, the evictions, the kinds used, the evidence of the environment and its
/// time, the time of the latest event and whether it ended the environment, the high-water mark,
/// the runtime, the checksum.
const FRAME_SIZE: usize =
    LENGTH_SIZE + 3 + 4 + 1 + 1 + 8 + 8 + 1 + 5 * 8 + RUNTIME_SIZE + 1 + CHECKSUM_SIZE;

const _: () = assert!(DETECTION_SIZE == SUBJECT_SIZE + 5 + 8 + 3 * 4);
const _: () = assert!(
    SNAPSHOT_ROWS_MAX * ROW_SIZE
        + SNAPSHOT_TOMBSTONES_MAX * TOMBSTONE_SIZE
        + HELD_LINES_MAX * LINE_SIZE
        + FRAME_SIZE
        <= SNAPSHOT_SIZE
);
