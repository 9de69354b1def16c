//! The system calls that std does not offer in the form that this program needs.
//!
//! Goes in: file descriptors that somebody else owns, bytes. Comes out: `io::Result`, and [`Child`],
//! which kills and reaps what it stands for. This module and its [`heap`] are the only ones with
//! `unsafe`; it allocates nothing, starts no thread, and waits only in [`poll`] and [`pause`].

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::hint;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) mod heap;

/// Where the program begins: C's `main`, as std's own costs memory before it calls ours: it looks
/// for the stack's end (in glibc by reading `/proc/self/maps`: 350 KiB of libc stay resident) and
/// maps a second stack, to explain a stack overflow that bounded code does not have.
#[cfg(not(any(test, fuzzing)))]
// SAFETY: C's start-up code calls the one `main` of a program with these arguments.
// WHY: nothing but the name makes it the program's start.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *const *const c_char) -> c_int {
    keep_descriptors();
    // SAFETY: SIG_IGN is a valid disposition and installs no code of ours.
    // WHY: std's start-up does the same: a peer that hangs up is an error of write, not our end.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut taken = [""; ARGUMENTS_MAX];
    for (index, argument) in taken.iter_mut().enumerate() {
        // SAFETY: `arguments` ends with a null pointer, and the loop ends there.
        // WHY: without std's start-up, musl's std does not know the arguments.
        let pointer = unsafe { *arguments.add(index) };
        if pointer.is_null() {
            break;
        }
        // SAFETY: an argument is a null-terminated string that lives as long as the process.
        // WHY: as above.
        let text = unsafe { CStr::from_ptr(pointer) };
        *argument = text.to_str().unwrap_or("?");
    }
    c_int::from(crate::run(taken))
}

/// Opens /dev/null for whichever of stdin, stdout and stderr is closed: the first socket would get
/// its number, and our lines.
#[cfg(not(any(test, fuzzing)))]
fn keep_descriptors() {
    while let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        std::mem::forget(null);
    }
}

/// What [`poll`] waits for on one descriptor; empty entries are passed over.
#[derive(Clone, Copy)]
pub(crate) struct Watch(libc::pollfd);

impl Watch {
    /// An entry that never becomes ready.
    pub(crate) const NONE: Self = Self(libc::pollfd { fd: -1, events: 0, revents: 0 });

    /// Ready when `fd` can be read, or has come to its end.
    pub(crate) fn readable(fd: BorrowedFd<'_>) -> Self {
        Self(libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
    }

    /// True if the last [`poll`] found something to do here.
    pub(crate) const fn is_ready(self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until one of `watches` is ready or `timeout_ms` have passed; -1 waits for ever.
///
/// # Errors
/// `EINTR`, `ENOMEM`; nothing is ready then.
pub(crate) fn poll(watches: &mut [Watch], timeout_ms: c_int) -> io::Result<()> {
    // The kernel refuses more entries than the limit of open files (EINVAL), also empty ones.
    let mut entries = [Watch::NONE; WATCHES_MAX];
    let mut count = 0;
    for (entry, watch) in entries.iter_mut().zip(watches.iter().filter(|watch| watch.0.fd >= 0)) {
        *entry = *watch;
        count += 1;
    }
    // SAFETY: `entries` is a live, exclusive array of at least `count` structs that are pollfd in
    // memory (Watch is one pollfd and nothing else, see the assertion below).
    // WHY: std has no way to wait for more than one descriptor.
    let ready = unsafe { libc::poll(entries.as_mut_ptr().cast(), count, timeout_ms) };
    let error = (ready < 0).then(io::Error::last_os_error);
    let mut answers = entries.iter();
    for watch in watches.iter_mut() {
        let answer = if watch.0.fd >= 0 { answers.next() } else { None };
        // A failing poll(2) leaves answers as they were.
        watch.0.revents = answer.filter(|_| error.is_none()).map_or(0, |answer| answer.0.revents);
    }
    error.map_or(Ok(()), Err)
}

/// The most descriptors that are watched at once.
const WATCHES_MAX: usize = 8;

const _: () = assert!(size_of::<Watch>() == size_of::<libc::pollfd>());

/// Between two tries, after an error that says that the kernel is short of something.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// True if the kernel lacks memory or descriptors, which says nothing about the socket.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOMEM | libc::ENOBUFS | libc::EMFILE | libc::ENFILE | libc::EAGAIN)
    )
}

/// Takes a connection that waits, or says `WouldBlock`, as `read` and `write` on it will.
///
/// # Errors
/// Those of accept4(2).
pub(crate) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the kernel writes no address where null pointers stand.
    // WHY: std takes another system call to say that nothing may block, and that one can fail.
    let fd =
        unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: accept4 has just opened it, and nobody else knows it.
    // WHY: the other half of accept4.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}

/// Fills `bytes` with random ones.
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

/// Reads what a socket has into `buffer`, which need not hold anything before.
///
/// # Errors
/// Those of recv(2).
pub(crate) fn receive<'a>(
    stream: &TcpStream,
    buffer: &'a mut [MaybeUninit<u8>],
) -> io::Result<&'a [u8]> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`, which is live and exclusive.
    // WHY: std's read takes a filled buffer: 4 KiB of zeros for each request, to be overwritten.
    let count =
        unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let count = count.min(buffer.len());
    // SAFETY: the kernel has written these bytes.
    // WHY: the other half of recv.
    Ok(unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), count) })
}

/// Waits a while, or less.
pub(crate) fn pause(time: Duration) {
    let time = libc::timespec {
        // Not `time_t`: libc warns of that name on musl.
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: `time` is a live timespec, and the kernel writes nothing where a null pointer stands.
    // WHY: std::thread::sleep ends the process at any error but EINTR.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
}

/// Writes one line to stdout or stderr, and never waits: only when poll(2) says that there is room.
///
/// A pipe that polls writable has a free slot of one page, so that a write of at most [`LINE_MAX`]
/// bytes ends at once, whether the pipe blocks or not (pipe(7)). Only another writer that takes the
/// slot between the two calls could delay it.
///
/// # Errors
/// `WouldBlock` if there is no room, `InvalidInput` for more than [`LINE_MAX`] bytes, else those of
/// poll(2) and write(2): nothing was taken then. `WriteZero` if a part of the line was taken, and the
/// rest is not.
pub(crate) fn write_line(stream: Stream, line: &[u8]) -> io::Result<()> {
    let result = try_write_line(stream, line);
    if result.is_err() && matches!(stream, Stream::Stderr) {
        LOST_LINES.fetch_add(1, Ordering::Relaxed);
    }
    result
}

/// Lines on stderr that were not taken since the last call.
pub(crate) fn take_lost_lines() -> u32 {
    LOST_LINES.swap(0, Ordering::Relaxed)
}

/// Takes back what [`take_lost_lines`] gave, as it could not be told.
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
    // Whatever interrupts it, it ends.
    for _ in 0..WRITES_MAX {
        if line.is_empty() {
            return Ok(());
        }
        let mut watches = [stream.writable()];
        if let Err(error) = poll(&mut watches, 0) {
            // It says nothing about the stream.
            problem = error;
            continue;
        }
        let [watch] = watches;
        if !watch.is_ready() {
            problem = io::ErrorKind::WouldBlock.into();
            break;
        }
        // SAFETY: `line` is a live slice, and the kernel only reads it.
        // WHY: std's stdout puts a buffer on the heap and copies through it; nothing may lie
        // between a line and the kernel in a process that can be killed at any time.
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

/// Tries to write a line, or the rest of one that a socket or a terminal took in part.
const WRITES_MAX: u32 = 100;

/// The longest line: what a pipe with room takes at once and in one piece (`PIPE_BUF`).
pub(crate) const LINE_MAX: usize = 4096;

/// One of the two streams that Lambda reads lines from.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Where the `emf` sink writes.
    Stdout = libc::STDOUT_FILENO as isize,
    /// Where everything meant for a human goes.
    Stderr = libc::STDERR_FILENO as isize,
}

impl Stream {
    /// Ready when [`write_line`] has room for a line, or fails for another reason.
    pub(crate) const fn writable(self) -> Watch {
        Watch(libc::pollfd { fd: self as c_int, events: libc::POLLOUT, revents: 0 })
    }
}

/// Waits a moment until `stream` has room for a line: for the child, whose one line says why it failed.
#[cfg(feature = "datadog")]
pub(crate) fn wait_for_room(stream: Stream) {
    // Whatever comes of it, write_line tells.
    let _ = poll(&mut [stream.writable()], 100);
}

/// Has the kernel give the stack's pages now that the loop will ever need: its deepest call comes with
/// the first attempt that leaves a full table, or with the first metric.
#[inline(never)]
pub(crate) fn touch_stack() {
    hint::black_box(&mut [0_u8; LOOP_STACK]);
}

/// What the loop's calls need, measured from `EventLoop::run`: 7.4 KiB, and 7.6 for a metric.
const LOOP_STACK: usize = 7936;

/// Gives the program's own pages back that only its start needed. They are the file's: the kernel
/// maps again what the loop touches, and so does not count the rest as ours any longer.
pub(crate) fn give_back_start() {
    let page = 4096;
    let begin = (&raw const __executable_start).addr() & !(page - 1);
    let end = (&raw const etext).addr() & !(page - 1);
    let begin = ptr::without_provenance_mut(begin);
    // SAFETY: the range holds nothing but the program's read-only segments, mapped from its file,
    // whose pages come back with the same bytes.
    // WHY: std has no madvise.
    unsafe { libc::madvise(begin, end.saturating_sub(begin.addr()), libc::MADV_DONTNEED) };
}

/// Cuts the program's mappings where the pages end that only its start needs. The kernel maps 64 KiB
/// around each page that is touched, but not beyond its mapping.
#[cfg(not(any(test, fuzzing)))]
pub(crate) fn set_start_apart() {
    let up = |address: *const u8| address.addr().next_multiple_of(4096);
    for (begin, end) in [
        (&raw const oom_witness_start_constants, &raw const oom_witness_start_constants_end),
        (&raw const oom_witness_start_code, &raw const oom_witness_start_code_end),
    ] {
        let (begin, end) = (up(begin), up(end));
        let length = end.saturating_sub(begin);
        let begin = ptr::without_provenance_mut(begin);
        // SAFETY: the range is the program's own, and only what a core dump holds is changed.
        // WHY: any difference makes a mapping of its own, and this one changes nothing else.
        unsafe { libc::madvise(begin, length, libc::MADV_DONTDUMP) };
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) fn set_start_apart() {}

#[cfg(not(any(test, fuzzing)))]
unsafe extern "C" {
    /// What only the start can reach: `cargo layer` says it to the linker; in other builds, nothing.
    static oom_witness_start_constants: u8;
    static oom_witness_start_constants_end: u8;
    static oom_witness_start_code: u8;
    static oom_witness_start_code_end: u8;
}

unsafe extern "C" {
    /// Where the linker put the first byte of the program.
    static __executable_start: u8;
    /// Where it put the end of its code.
    static etext: u8;
}

/// Lets go of stdin, which the agent never reads: one descriptor less. Whatever gets its number is
/// closed on exec, and a child is given a stdin of its own.
pub(crate) fn close_stdin() {
    // SAFETY: nothing in this process uses stdin after this, and no `OwnedFd` stands for it.
    // WHY: std does not close what it did not open.
    unsafe { libc::close(libc::STDIN_FILENO) };
}

/// Makes the exit status of children readable whatever this process inherited.
pub(crate) fn keep_child_statuses() {
    // SAFETY: SIG_DFL is a valid disposition and installs no code of ours.
    // WHY: SIGCHLD ignored by the parent survives exec, and the kernel then reaps our children
    // itself: waitpid would fail, and every send would end as unknown.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// The longest command line: `oom-witness send SINK again`.
pub(crate) const ARGUMENTS_MAX: usize = 4;

/// Runs `/proc/self/exe` with `arguments` and hands it `input` on stdin. Its stdin and stdout are
/// [`Child`]'s socket, its stderr and environment are ours.
///
/// Two descriptors while it starts, one as long as it runs, and not a byte of memory: vfork(2), as
/// posix_spawn(3) would do it, which takes another pipe and, in glibc, maps a stack. An exec that
/// fails shows as a child that ends with [`NOT_STARTED`].
///
/// `input` has to fit into an empty socket (4,608 bytes at the least), as nobody reads yet.
///
/// # Errors
/// Those of socketpair, write and clone; no process was left behind.
pub(crate) fn spawn(arguments: &[&'static CStr], input: &[u8]) -> io::Result<Child> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(input)?;
    let mut start = Start { fd: theirs.as_raw_fd(), argv: [ptr::null(); ARGUMENTS_MAX + 1] };
    for (pointer, argument) in start.argv.iter_mut().zip(arguments.iter().take(ARGUMENTS_MAX)) {
        *pointer = argument.as_ptr();
    }
    let mut stack = [MaybeUninit::<u128>::uninit(); CHILD_STACK_SIZE / size_of::<u128>()];
    // SAFETY: with CLONE_VFORK this thread, the only one, stands still until the child has left our
    // memory, so that `stack`, whose end is aligned, and `start` outlive its use of them.
    // WHY: std::process keeps 450 KiB of its own text resident and allocates at every start.
    let pid = unsafe {
        libc::clone(
            become_child,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut start).cast(),
        )
    };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Child { pid, ours, reaped: false }) }
}

/// What the child needs to know before it is a program of its own.
struct Start {
    fd: c_int,
    argv: [*const c_char; ARGUMENTS_MAX + 1],
}

/// Two system calls deep, and no signal is caught.
const CHILD_STACK_SIZE: usize = 1024;

/// Processors want a stack that is aligned so.
const _: () = assert!(align_of::<u128>() == 16);

/// The exit code of a child that could not become a program of its own.
const NOT_STARTED: c_int = 127;

/// The child's first steps, in its parent's memory: system calls and nothing else.
extern "C" fn become_child(start: *mut c_void) -> c_int {
    // SAFETY: `spawn` gave its own `Start`, which it keeps until this process has left its memory;
    // `argv` and `environ` are null-terminated. Stdout is open, so that `fd` is another number, and
    // both copies lose its close-on-exec whatever that number is. `_exit` runs nothing of ours.
    // WHY: see `spawn`.
    unsafe {
        let Start { fd, argv } = &*start.cast::<Start>();
        let (stdin, stdout) = (libc::STDIN_FILENO, libc::STDOUT_FILENO);
        if libc::dup2(*fd, stdout) == stdout && libc::dup2(stdout, stdin) == stdin {
            libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), environ.cast_const().cast());
        }
        libc::_exit(NOT_STARTED)
    }
}

unsafe extern "C" {
    static environ: *mut *mut c_char;
}

/// How often a child is killed or waited for, where the kernel refuses.
const TRIES_MAX: u32 = 10;

/// A process of ours, killed and reaped when it is dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    ours: UnixStream,
    reaped: bool,
}

impl Child {
    /// Becomes readable when the child writes to its stdout, and when it ends.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    /// Reads what the child wrote: 0 bytes mean that it ended. Only after `output` was ready.
    ///
    /// # Errors
    /// Those of read(2).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ours.read(buffer)
    }

    /// Kills the child if it still lives, and gives how it ended, `None` if the kernel does not say.
    pub(crate) fn end(mut self, kill: bool) -> Option<ExitStatus> {
        self.reap(kill)
    }

    fn reap(&mut self, kill: bool) -> Option<ExitStatus> {
        if self.reaped {
            return None;
        }
        self.reaped = true;
        // Whatever the kernel lacks for the moment; a child that has ended is there to be killed.
        for _ in 0..if kill { TRIES_MAX } else { 0 } {
            // SAFETY: the pid is that of a child which was not reaped yet, so it is still ours.
            // WHY: a send is bounded by its parent.
            if unsafe { libc::kill(self.pid, libc::SIGKILL) } == 0 {
                break;
            }
        }
        let mut status = 0;
        for _ in 0..TRIES_MAX {
            // SAFETY: `status` is a live int.
            // WHY: nobody but the parent can read how it ended.
            let reaped = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            if reaped == self.pid {
                return Some(ExitStatus::from_raw(status));
            }
        }
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.reap(true);
    }
}
