//! Every capacity and buffer size of this crate, with its reason. No other module of it names one.

use core::mem::size_of;

use crate::{Detector, Scanner};

/// Bytes kept of a request id. AWS sends UUIDs of 36 bytes.
pub const REQUEST_ID_MAX: usize = 36;

/// Attempts watched at once on Managed Instances, where one environment runs up to 64 invocations
/// for each vCPU. There is room for those of four vCPUs, an init and a restore. Further invocations
/// count too, but a line without a request id may not find the ones that had no room.
pub const ATTEMPTS_MAX: usize = 4 * 64 + 2;

/// Attempts watched at once elsewhere. One runs at a time, and the others wait for a late report.
/// The other rows of the table are never touched, so they are not resident.
pub const ATTEMPTS_ON_DEMAND_MAX: usize = 16;

/// Attempts remembered after they left the table, so that a late event of theirs is recognised. If
/// a batch with this many invocations comes again, each of them still counts once.
pub const TOMBSTONES_MAX: usize = 80;

/// Lines with evidence that wait for their attempt, such as those without a request id.
pub const HELD_LINES_MAX: usize = 8;

/// Bytes of the pruned copy of a `platform.*` record, which serde-json-core reads.
pub const RECORD_SIZE: usize = 512;

/// Bytes kept from the start of a function record, where runtimes write their fatal texts. The
/// longest has 104 bytes, after the prefix of a thread or a request. It is V8's:
///
/// ```text
/// FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - JavaScript heap
/// out of memory
/// ```
pub const HEAD_SIZE: usize = 256;

/// Bytes kept of a member's name in a telemetry event. The longest that matters is `record`. Like
/// each size below, it is larger than every known text, so that a clipped text equals none of them.
pub const EVENT_KEY_SIZE: usize = 8;

/// Bytes kept of a member's name in a function's record. The longest that matter, `errorMessage`
/// and `AWSRequestId`, have 12.
pub const LOG_KEY_SIZE: usize = 16;

/// Bytes kept of a member's name in a `platform.*` record or in an answer of the Extensions API.
/// The longest that matters, `initializationType`, has 18.
pub const PRUNED_KEY_SIZE: usize = 19;

/// Bytes kept of an event's `time`. RFC 3339 with nanoseconds and an offset has 35.
pub const TIME_SIZE: usize = 40;

/// Bytes kept of an event's `type`. The longest today, `platform.telemetrySubscription`, has 30.
pub const EVENT_TYPE_SIZE: usize = 40;

/// Bytes kept of a text that should be a request id. One that has more than [`REQUEST_ID_MAX`] is
/// none.
pub const REQUEST_ID_SIZE: usize = 40;

/// Bytes kept of an `errorType`. The longest that is looked for has 27.
pub const ERROR_TYPE_SIZE: usize = 48;

/// Bytes kept of an `errorMessage`. The longest start that is looked for has 33.
pub const ERROR_MESSAGE_SIZE: usize = 96;

/// Bytes kept of a `status`, a `phase` or an `eventType`. The longest today, `snap-start`, has 10.
pub const AWS_WORD_SIZE: usize = 16;

/// Bytes kept of an `initializationType`. The longest today, `lambda-managed-instances`, has 24.
pub const INITIALIZATION_TYPE_SIZE: usize = 32;

/// Bytes kept of a `runtimeVersion`. The longest known, `python:3.14.DurableFunction.v13`, has 31.
/// As many as of an error type, so that both are read by the same code.
pub const RUNTIME_VERSION_SIZE: usize = ERROR_TYPE_SIZE;

/// Bytes of a runtime's name. The longest known, `provided.al2023`, has 15.
pub const RUNTIME_SIZE: usize = 20;

/// Bytes kept of a `shutdownReason`. The longest known has 17.
pub const SHUTDOWN_REASON_SIZE: usize = 32;

/// Bytes kept of a function's version: `$LATEST`, or a number of any `u64`.
pub const FUNCTION_VERSION_SIZE: usize = 24;

/// Bytes kept of an account's id, which has 12 digits.
pub const ACCOUNT_ID_SIZE: usize = 16;

/// Bytes of an event before its record, `{"time":"...","type":"...","record":`. Lambda repeats the
/// same bytes when it continues a record that it had cut.
pub const ENVELOPE_SIZE: usize = 128;

/// Platform events held until the end of a body that begins with a function's record. An invocation
/// brings four, a restart ten. On Managed Instances a body can bring more. Then the bodies before
/// it decide ([`DOUBT_BODIES`]).
pub const HELD_EVENTS_MAX: usize = 12;

/// A body shorter than this is not the middle of a cut record. Lambda cuts only records that are
/// larger than the subscribed buffer, which has at least 262,144 bytes, and fills each middle
/// piece. This is half of that, since AWS does not say which bytes it counts.
pub const CUT_BODY_SIZE_MIN: usize = 131_072;

/// After this many bodies in a row that end well, the rest of a cut record no longer comes.
pub const DOUBT_BODIES: u8 = 16;

/// Bytes of a function's name: at most 64 on AWS, more where a partial ARN stands in its place.
pub const FUNCTION_NAME_MAX: usize = 140;

/// The most bytes that a snapshot takes ([`Detector::snapshot`]). Most take less.
pub const SNAPSHOT_SIZE: usize = 3840;

/// Attempts that survive a restart whole: first those with evidence that waits, then the latest.
/// One of them ran when the environment was reset. The others wait for late reports.
pub const SNAPSHOT_ROWS_MAX: usize = 6;

/// Older attempts that survive a restart as tombstones: all that are remembered.
pub const SNAPSHOT_TOMBSTONES_MAX: usize = TOMBSTONES_MAX;

/// Bytes of one encoded [`Detection`](crate::Detection).
pub const DETECTION_SIZE: usize = 63;

/// Escaped bytes of each text of a [`Source`](crate::Source) that the platform sets, except the
/// function's name. The longest today is an initialization type of 24 bytes.
pub const SOURCE_WORD_MAX: usize = 32;

/// Escaped bytes of each text of a [`Source`](crate::Source) that the user sets. Datadog cuts a tag
/// after 200 characters.
pub const SOURCE_TEXT_MAX: usize = 200;

/// Escaped bytes of all the user's tags, with their quotes and commas. This is a quarter of a
/// request: one metric always fits with the longest of everything else, and usually several do.
pub const SOURCE_TAGS_SIZE: usize = 1024;

/// A buffer that holds any sentence ([`sentence`](crate::format::sentence)). The longest has 249
/// bytes.
pub const SENTENCE_SIZE: usize = 256;

/// A buffer that holds any datagram ([`dogstatsd`](crate::format::dogstatsd)). The longest has 187
/// bytes.
pub const DATAGRAM_SIZE: usize = 192;

/// A buffer that holds any document of any format, with the longest texts of a
/// [`Source`](crate::Source) and every byte escaped.
pub const DOCUMENT_SIZE: usize = 4096;

/// Tags of the user. Datadog takes 100, and at most 25 of them are ours.
pub const SOURCE_TAGS_MAX: usize = 75;

const _: () = assert!(size_of::<Scanner>() <= 3072);
const _: () = assert!(size_of::<Detector>() <= 32 * 1024);
