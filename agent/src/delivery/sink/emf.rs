//! CloudWatch's Embedded Metric Format: one line of JSON on stdout, which is metric and log in one.
//!
//! Goes in: a metric. Comes out: one write(2) of one line. No network, no key, no allocation.

use std::io;

use oom_witness_core::{Metric, format};

use crate::sys::{self, Stream};

/// The longest line.
const LINE_SIZE: usize = sys::LINE_MAX;

/// Writes the line, if stdout has room for it.
///
/// # Errors
/// `InvalidInput` if the line is too long, else those of [`sys::write_line`].
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
