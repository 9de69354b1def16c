//! A [`Metric`](crate::Metric) into the caller's buffer, one file for each wire format.
//!
//! Every text that comes from outside is escaped, byte by byte. A buffer that is too small is an
//! error, never a clipped document: [`DOCUMENT_SIZE`] is enough for every metric.

pub mod datadog;
pub mod emf;
pub mod sentence;

mod writer;

/// A buffer that holds any document of any format: the longest source texts, every byte escaped.
pub const DOCUMENT_SIZE: usize = 4096;

/// The bytes that `text` takes in a document of any format, where some bytes are escaped.
#[must_use]
pub fn escaped_size(text: &str) -> usize {
    writer::escaped_size(text)
}
