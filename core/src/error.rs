//! Why something could not be read or written.

use core::fmt;

/// It is one byte. The caller knows what it was doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The request id is not 1 to 36 printable ASCII bytes.
    BadRequestId,
    /// The caller's buffer is too small for the text.
    BufferFull,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequestId => "the request id is not 1 to 36 printable ASCII bytes",
            Self::BufferFull => "the buffer is too small for the text",
        })
    }
}

impl core::error::Error for Error {}

const _: () = assert!(size_of::<Error>() == 1);
