//! The system calls that std does not offer in the form that this program needs.
//!
//! In: file descriptors that another module owns, and bytes. Out: `io::Result`, and [`Child`],
//! which kills and reaps its process. Only this module and those below it contain `unsafe`. It
//! allocates nothing, starts no thread, and waits only in [`poll()`] and [`pause`].

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;
use std::time::Duration;

mod child;
pub(crate) mod heap;
mod memory;
mod output;
mod poll;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod start;

pub(crate) use child::{Child, spawn};
pub(crate) use memory::{give_back_start, set_start_apart, touch_stack};
#[cfg(feature = "network")]
pub(crate) use output::wait_for_room;
pub(crate) use output::{LINE_MAX, Stream, put_back_lost_lines, take_lost_lines, write_line};
pub(crate) use poll::{PollEntry, poll};

/// The pause before another try, after an error that says that the kernel lacks something.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// The longest command line: `oom-witness send SINK again`.
pub(crate) const ARGUMENTS_MAX: usize = 4;

/// True if the kernel lacks memory or descriptors, which says nothing about the socket.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOMEM | libc::ENOBUFS | libc::EMFILE | libc::ENFILE | libc::EAGAIN)
    )
}

/// Accepts a connection that waits, or returns `WouldBlock`. Neither this call nor those on the new
/// connection block.
///
/// # Errors
/// Those of accept4(2).
pub(crate) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: with null pointers the kernel writes no address.
    // WHY: std needs a second system call to make the socket nonblocking, and that one can fail.
    let fd =
        unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: accept4 has just opened it, and nothing else owns it.
    // WHY: the other half of accept4.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}

/// Fills `bytes` with random bytes.
///
/// # Errors
/// Those of getrandom(2); `WouldBlock` where the kernel has none yet.
pub(crate) fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: `bytes` is a live, exclusive slice of this length.
    // WHY: std gives random numbers only through a hash map's keys.
    let count =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::Interrupted.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Reads what a socket has into `buffer`, which may be uninitialised.
///
/// # Errors
/// Those of recv(2).
pub(crate) fn receive<'a>(
    stream: &TcpStream,
    buffer: &'a mut [MaybeUninit<u8>],
) -> io::Result<&'a [u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`, which is live and
    // exclusive.
    // WHY: std's read needs an initialised buffer: 4 KiB of zeros for each request, to be
    // overwritten.
    let count =
        unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let count = count.min(buffer.len());
    // SAFETY: the kernel has written these bytes.
    // WHY: the other half of recv.
    Ok(unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), count) })
}

/// Waits for `time`, or less.
pub(crate) fn pause(time: Duration) {
    let time = libc::timespec {
        // Not `time_t`, which libc deprecates on musl.
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: `time` is a live timespec, and the kernel writes nothing through a null pointer.
    // WHY: std::thread::sleep ends the process at any error but EINTR.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
}

/// Closes stdin, which the agent never reads, to save a descriptor. Whatever gets its number is
/// closed on exec, and a child gets a stdin of its own.
pub(crate) fn close_stdin() {
    // SAFETY: nothing in this process uses stdin after this, and no `OwnedFd` owns it.
    // WHY: std cannot close what it has not opened.
    unsafe { libc::close(libc::STDIN_FILENO) };
}

/// Makes the exit status of children readable, whatever disposition of SIGCHLD this process
/// inherited.
pub(crate) fn keep_child_statuses() {
    // SAFETY: SIG_DFL is a valid disposition and installs no code of ours.
    // WHY: if the parent ignored SIGCHLD, this process does too, and the kernel reaps its children.
    // waitpid would then fail, and the result of every send would be unknown.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
