//! Lines on stdout and stderr, written without ever waiting.
//!
//! In: a whole line. Out: whether the stream has taken it. Lines that stderr did not take are
//! counted.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::poll::{PollEntry, poll};

/// Writes one line to stdout or stderr if poll(2) says that there is room. It never waits.
///
/// A pipe that polls writable has a free slot of one page. So a write of at most [`LINE_MAX`] bytes
/// ends at once, even if the pipe is blocking (pipe(7)). Only another writer that takes the slot
/// between the two calls could delay it.
///
/// # Errors
/// `WriteZero` if the stream took a part of the line and not the rest. In all other cases it took
/// nothing: `WouldBlock` if there is no room, `InvalidInput` for more than [`LINE_MAX`] bytes, else
/// the errors of poll(2) and write(2).
pub(crate) fn write_line(stream: Stream, line: &[u8]) -> io::Result<()> {
    let result = try_write_line(stream, line);
    if result.is_err() && matches!(stream, Stream::Stderr) {
        LOST_LINES.fetch_add(1, Ordering::Relaxed);
    }
    result
}

/// The number of lines that stderr has not taken since the last call.
pub(crate) fn take_lost_lines() -> u32 {
    LOST_LINES.swap(0, Ordering::Relaxed)
}

/// Adds the number that [`take_lost_lines`] returned again, as it could not be logged.
pub(crate) fn put_back_lost_lines(count: u32) {
    LOST_LINES.fetch_add(count, Ordering::Relaxed);
}

static LOST_LINES: AtomicU32 = AtomicU32::new(0);

fn try_write_line(stream: Stream, mut line: &[u8]) -> io::Result<()> {
    if line.len() > LINE_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let whole = line.len();
    let mut problem = io::Error::from(io::ErrorKind::Interrupted);
    // Bounded, so that it ends whatever interrupts it.
    for _ in 0..WRITES_MAX {
        if line.is_empty() {
            return Ok(());
        }
        let mut entries = [stream.writable()];
        if let Err(error) = poll(&mut entries, 0) {
            // This says nothing about the stream.
            problem = error;
            continue;
        }
        let [entry] = entries;
        if !entry.is_ready() {
            problem = io::ErrorKind::WouldBlock.into();
            break;
        }
        // SAFETY: `line` is a live slice, and the kernel only reads it.
        // WHY: std's stdout copies through a buffer on the heap. A line must not stay in a buffer
        // of a process that can be killed at any time.
        let written = unsafe { libc::write(stream as c_int, line.as_ptr().cast(), line.len()) };
        if let Ok(written) = usize::try_from(written) {
            line = line.get(written..).unwrap_or_default();
            continue;
        }
        problem = io::Error::last_os_error();
        if problem.kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    Err(if line.len() < whole { io::ErrorKind::WriteZero.into() } else { problem })
}

/// Tries to write a line, or the rest of a line that a socket or a terminal took in part.
const WRITES_MAX: u32 = 100;

/// The longest line. A pipe with room takes it at once and in one piece (`PIPE_BUF`).
pub(crate) const LINE_MAX: usize = 4096;

/// The longest wait of [`wait_for_room`].
#[cfg(feature = "network")]
const ROOM_WAIT_MS: c_int = 100;

/// One of the two streams from which Lambda reads lines.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Where the `emf` sink writes.
    Stdout = libc::STDOUT_FILENO as isize,
    /// Where everything for human readers goes.
    Stderr = libc::STDERR_FILENO as isize,
}

impl Stream {
    /// Ready when [`write_line`] has room for a line, or fails for another reason.
    pub(crate) const fn writable(self) -> PollEntry {
        PollEntry(libc::pollfd { fd: self as c_int, events: libc::POLLOUT, revents: 0 })
    }
}

/// Waits a moment until `stream` has room for a line. The child uses it for the line that says why
/// its send failed.
#[cfg(feature = "network")]
pub(crate) fn wait_for_room(stream: Stream) {
    // If it fails, write_line fails too.
    let _ = poll(&mut [stream.writable()], ROOM_WAIT_MS);
}
