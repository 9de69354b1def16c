//! From detections to bytes: one file for each wire format.
//!
//! In: a [`Detection`](crate::Detection), as a [`Metric`](crate::Metric) with the function it is
//! about. Out: the bytes of a document in the caller's buffer. Nothing here knows how a verdict was
//! reached, or where the bytes go.
//!
//! Each text from outside is escaped, byte by byte. A buffer that is too small is an error, never a
//! clipped document: [`DOCUMENT_SIZE`] is enough for each metric. [`Writer`] does both, also for a
//! format of your own.

pub mod datadog;
pub mod dogstatsd;
pub mod emf;
pub mod otlp;
pub mod pairs;
pub mod sentence;

pub(crate) mod metric;
mod protobuf;
mod writer;

pub use self::writer::Writer;
pub use crate::sizes::DOCUMENT_SIZE;

/// The bytes that `text` takes in a document of any format, where some bytes are escaped.
#[must_use]
pub fn escaped_size(text: &str) -> usize {
    writer::escaped_size(text)
}
