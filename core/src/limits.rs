//! Every capacity and buffer size, with its reason. No other module names a size.

use core::mem::size_of;

use crate::{Detector, Scanner};

/// Bytes of a request id that are kept. AWS sends UUIDs of 36.
pub const REQUEST_ID_MAX: usize = 36;

/// Attempts watched at once on Managed Instances, where one environment runs up to 64 invocations
/// for each vCPU: those of four vCPUs, the init and the restore. More invocations than that are
/// counted too, but a line without a request id may miss those that found no room.
pub const ATTEMPTS_MAX: usize = 4 * 64 + 2;

/// Attempts watched at once elsewhere: one runs at a time, the rest wait for a late report. The
/// table's other rows are never touched, and so not resident.
pub const ATTEMPTS_ON_DEMAND_MAX: usize = 16;

/// Finished attempts remembered after they left the table, so that a late signal is recognised: with
/// those in the table, a batch of this many invocations counts once, however often it comes.
pub const TOMBSTONES_MAX: usize = 80;

/// Function lines with evidence but without a request id that wait for the attempt they belong to.
pub const HELD_LINES_MAX: usize = 8;

/// The pruned copy of a `platform.*` record that serde-json-core reads.
pub const RECORD_SIZE: usize = 512;

/// The first bytes of a function record, where runtimes put their dying words. The longest that is
/// needed is V8's `FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed -
/// JavaScript heap out of memory` (104 bytes) behind a thread's or a request's prefix.
pub const HEAD_SIZE: usize = 256;

/// The beginning of an event up to its record, `{"time":"...","type":"...","record":`. Lambda
/// repeats it to the byte when it continues a record that it had cut.
pub const ENVELOPE_SIZE: usize = 128;

/// Platform events of a body that begins with a function's record, which are held until its end: an
/// invocation brings four, a restart ten. On Managed Instances a body can hold more; then the bodies before
/// it decide ([`DOUBT_BODIES`]).
pub const HELD_EVENTS_MAX: usize = 12;

/// A shorter body is not the middle of a cut record: Lambda cuts only records larger than the buffer
/// that was subscribed to, at least 262,144 bytes, and fills the middle pieces. Half of it, since nobody
/// says what it counts.
pub const CUT_BODY_SIZE_MIN: usize = 131_072;

/// So many bodies that end well, one after the other, say that the rest of a cut record will not come any
/// more.
pub const DOUBT_BODIES: u8 = 16;

/// A function's name: 64 bytes at AWS, more where a partial ARN stands in its place.
pub const FUNCTION_NAME_MAX: usize = 140;

/// The most bytes of a detector's memory across a restart ([`Detector::snapshot`]). Most need less.
pub const SNAPSHOT_SIZE: usize = 3840;

/// Attempts that survive a restart whole: those with evidence that waits, and the latest. One ran
/// when the environment was reset; the others wait for late reports.
pub const SNAPSHOT_ROWS_MAX: usize = 6;

/// Older attempts of which it survives a restart whether they were counted: all that are remembered.
pub const SNAPSHOT_TOMBSTONES_MAX: usize = TOMBSTONES_MAX;

/// One encoded [`Detection`](crate::Detection).
pub const DETECTION_SIZE: usize = 61;

/// Escaped bytes of each text of a [`Source`](crate::Source) that the platform sets, other than the
/// function's name: the longest today is an initialization type of 24.
pub const SOURCE_WORD_MAX: usize = 32;

/// Escaped bytes of each text of a [`Source`](crate::Source) that the user sets: Datadog cuts a tag
/// after 200 characters.
pub const SOURCE_TEXT_MAX: usize = 200;

/// Escaped bytes of the tags that the user asks for, in quotes and with commas: a quarter of a
/// request, so that one always fits beside the longest of everything else, and mostly several do.
pub const SOURCE_TAGS_SIZE: usize = 1024;

/// Tags that the user asks for. Datadog takes 100, and at most 22 are ours.
pub const SOURCE_TAGS_MAX: usize = 75;

const _: () = assert!(size_of::<Scanner>() <= 3072);
const _: () = assert!(size_of::<Detector>() <= 32 * 1024);
