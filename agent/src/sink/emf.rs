//! CloudWatch's Embedded Metric Format: one line of JSON on stdout, which is metric and log in one.
//!
//! Goes in: a metric. Comes out: one write(2) of one line. No network, no key, no allocation.

use std::io;

use oom_witness_core::{Metric, format};

use crate::sys::{self, Stream};

/// The longest line. A pipe takes as much in one piece (`PIPE_BUF` is 4,096).
const LINE_SIZE: usize = 4096;

/// Writes the line.
///
/// # Errors
/// `InvalidInput` if the line is too long, else those of write(2).
#[cold]
#[inline(never)]
pub(crate) fn write(metric: &Metric<'_>) -> io::Result<()> {
    let mut line = [0; LINE_SIZE];
    let room = line.get_mut(..LINE_SIZE - 1).unwrap_or_default();
    let length = format::emf::write(metric, room).map_err(|_| io::ErrorKind::InvalidInput)?;
    if let Some(end) = line.get_mut(length) {
        *end = b'\n';
    }
    sys::write_line(Stream::Stdout, line.get(..=length).unwrap_or_default())
}
