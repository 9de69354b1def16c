//! poll(2): waits for several file descriptors.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What [`poll`] waits for on one descriptor. Empty entries are skipped.
#[derive(Clone, Copy)]
pub(crate) struct PollEntry(pub(super) libc::pollfd);

impl PollEntry {
    /// An entry that never becomes ready.
    pub(crate) const NONE: Self = Self(libc::pollfd { fd: -1, events: 0, revents: 0 });

    /// Ready when `fd` can be read, or is at its end.
    pub(crate) fn readable(fd: BorrowedFd<'_>) -> Self {
        Self(libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
    }

    /// True if the last [`poll`] found this entry ready.
    pub(crate) const fn is_ready(self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until one of `entries` is ready, at most `timeout_ms`; -1 waits for ever.
///
/// # Errors
/// `EINTR`, `ENOMEM`. No entry is ready then.
pub(crate) fn poll(entries: &mut [PollEntry], timeout_ms: c_int) -> io::Result<()> {
    // The kernel refuses more entries than the limit of open files (EINVAL), and counts empty ones.
    let mut used = [PollEntry::NONE; ENTRIES_MAX];
    let mut count = 0;
    for (to, from) in used.iter_mut().zip(entries.iter().filter(|entry| entry.0.fd >= 0)) {
        *to = *from;
        count += 1;
    }
    // SAFETY: `used` is a live, exclusive array of at least `count` structs with the layout of
    // pollfd (a PollEntry is one pollfd and nothing else, see the assertion below).
    // WHY: std has no way to wait for more than one descriptor.
    let ready = unsafe { libc::poll(used.as_mut_ptr().cast(), count, timeout_ms) };
    let error = (ready < 0).then(io::Error::last_os_error);
    let mut answers = used.iter();
    for entry in entries.iter_mut() {
        let answer = if entry.0.fd >= 0 { answers.next() } else { None };
        // A poll(2) that fails leaves old answers in place.
        entry.0.revents = answer.filter(|_| error.is_none()).map_or(0, |answer| answer.0.revents);
    }
    error.map_or(Ok(()), Err)
}

/// Descriptors that are polled at once: those of the event loop are six.
const ENTRIES_MAX: usize = 8;

const _: () = assert!(size_of::<PollEntry>() == size_of::<libc::pollfd>());
