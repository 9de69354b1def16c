//! The system calls that std does not offer in the form that this program needs.
//!
//! Goes in: file descriptors that somebody else owns, bytes. Comes out: `io::Result`, and [`Child`],
//! which kills and reaps what it stands for. This is the only module with `unsafe`; it allocates
//! nothing after [`Spawner::new`], starts no thread, and waits only in [`poll`].

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

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

    /// Ready when `fd` can be written, or is broken.
    fn writable(fd: BorrowedFd<'_>) -> Self {
        Self(libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 })
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
    // A failing poll(2) leaves the last answers standing.
    for watch in watches.iter_mut() {
        watch.0.revents = 0;
    }
    let Ok(count) = libc::nfds_t::try_from(watches.len()) else { return Ok(()) };
    // SAFETY: `watches` is a live, exclusive array of `count` structs that are pollfd in memory
    // (Watch is one pollfd and nothing else, see the assertion below).
    // WHY: std has no way to wait for more than one descriptor.
    let ready = unsafe { libc::poll(watches.as_mut_ptr().cast(), count, timeout_ms) };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const _: () = assert!(size_of::<Watch>() == size_of::<libc::pollfd>());

/// Writes one line to stdout or stderr: one write(2), more only if the pipe took a part of it.
///
/// # Errors
/// Those of write(2), and `WouldBlock` when a full pipe has not drained within 100 ms.
pub(crate) fn write_line(stream: Stream, mut line: &[u8]) -> io::Result<()> {
    let mut waited = false;
    // Whatever interrupts it, it ends.
    for _ in 0..WRITES_MAX {
        if line.is_empty() {
            return Ok(());
        }
        // SAFETY: `line` is a live slice, and the kernel only reads it.
        // WHY: std's stdout puts a buffer on the heap and copies through it; nothing may lie
        // between a line and the kernel in a process that can be killed at any time.
        let written = unsafe { libc::write(stream as c_int, line.as_ptr().cast(), line.len()) };
        if let Ok(written) = usize::try_from(written) {
            line = line.get(written..).unwrap_or_default();
            continue;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock if !waited => {
                waited = true;
                wait_writable(stream);
            }
            _ => return Err(error),
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// Pieces that a line is written in at most.
const WRITES_MAX: u32 = 1000;

/// One of the two streams that Lambda reads lines from.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Where the `emf` sink writes.
    Stdout = libc::STDOUT_FILENO as isize,
    /// Where everything meant for a human goes.
    Stderr = libc::STDERR_FILENO as isize,
}

fn wait_writable(stream: Stream) {
    let watch = match stream {
        Stream::Stdout => Watch::writable(io::stdout().as_fd()),
        Stream::Stderr => Watch::writable(io::stderr().as_fd()),
    };
    // Whatever comes of it, the next write(2) tells.
    let _ = poll(&mut [watch], 100);
}

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

unsafe extern "C" {
    /// Where the linker put the first byte of the program.
    static __executable_start: u8;
    /// Where it put the end of its code.
    static etext: u8;
}

/// Makes the exit status of children readable whatever this process inherited.
pub(crate) fn keep_child_statuses() {
    // SAFETY: SIG_DFL is a valid disposition and installs no code of ours.
    // WHY: SIGCHLD ignored by the parent survives exec, and the kernel then reaps our children
    // itself: waitpid would fail, and every send would end as unknown.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Starts this program again. Everything that allocates is done once, in [`Spawner::new`].
pub(crate) struct Spawner {
    actions: Option<libc::posix_spawn_file_actions_t>,
}

/// Where the ends of the pipes wait for the child, so that the file actions can be made in advance.
/// Above all that this program opens, below 64, where the kernel would enlarge its table.
const CHILD_STDIN: c_int = 40;
const CHILD_STDOUT: c_int = 41;

/// The longest command line: `oom-witness send SINK again`.
pub(crate) const ARGUMENTS_MAX: usize = 4;

impl Spawner {
    /// Prepares; a failure here fails the later [`Spawner::spawn`]s, nothing else.
    pub(crate) fn new() -> Self {
        let mut actions = std::mem::MaybeUninit::uninit();
        // SAFETY: init gets room for one struct and makes it valid when it answers 0; adddup2 then
        // gets that valid struct. It is never destroyed: it is needed as long as the process.
        // WHY: std::process keeps 450 KiB of its own text resident and allocates at every spawn.
        let made = unsafe {
            let actions = actions.as_mut_ptr();
            libc::posix_spawn_file_actions_init(actions) == 0
                && libc::posix_spawn_file_actions_adddup2(actions, CHILD_STDIN, 0) == 0
                && libc::posix_spawn_file_actions_adddup2(actions, CHILD_STDOUT, 1) == 0
        };
        // SAFETY: `made` says that init answered 0.
        // WHY: the other half of init.
        Self { actions: made.then(|| unsafe { actions.assume_init() }) }
    }

    /// Runs `/proc/self/exe` with `arguments` and hands it `input` on stdin. Its stdout is
    /// [`Child`]'s pipe, its stderr and environment are ours.
    ///
    /// `input` has to fit into an empty pipe (4,096 bytes at the least), as nobody reads yet.
    ///
    /// # Errors
    /// Those of pipe2, write, dup3 and posix_spawn; no process was left behind.
    pub(crate) fn spawn(&self, arguments: &[&'static CStr], input: &[u8]) -> io::Result<Child> {
        let Some(actions) = &self.actions else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let (child_stdin, mut write_end) = io::pipe()?;
        write_end.write_all(input)?;
        drop(write_end);
        let _stdin = Parked::new(child_stdin, CHILD_STDIN)?;
        let (output, child_stdout) = io::pipe()?;
        let _stdout = Parked::new(child_stdout, CHILD_STDOUT)?;
        let mut argv: [*mut c_char; ARGUMENTS_MAX + 1] = [ptr::null_mut(); ARGUMENTS_MAX + 1];
        for (pointer, argument) in argv.iter_mut().zip(arguments.iter().take(ARGUMENTS_MAX)) {
            *pointer = argument.as_ptr().cast_mut();
        }
        let mut pid = 0;
        // SAFETY: the path, `argv` and `environ` are null-terminated and outlive the call, which
        // copies them; `actions` is valid; no other thread changes the environment, there is none.
        // WHY: see Spawner::new.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                c"/proc/self/exe".as_ptr(),
                actions,
                ptr::null(),
                argv.as_ptr(),
                environ.cast_const(),
            )
        };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(Child { pid, output, reaped: false })
    }
}

unsafe extern "C" {
    static environ: *mut *mut c_char;
}

/// A descriptor moved to a fixed number; closed on drop.
struct Parked(c_int);

impl Parked {
    fn new(fd: impl AsFd, number: c_int) -> io::Result<Self> {
        // SAFETY: dup3 takes any numbers; `number` is one that only this module uses.
        // WHY: the file actions name their source by a number that must be known in advance.
        let made = unsafe { libc::dup3(fd.as_fd().as_raw_fd(), number, libc::O_CLOEXEC) };
        if made < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(number)) }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        // SAFETY: the number was opened by Parked::new and nobody else knows it.
        // WHY: the other half of dup3.
        unsafe { libc::close(self.0) };
    }
}

/// A process of ours, killed and reaped when it is dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    output: PipeReader,
    reaped: bool,
}

impl Child {
    /// Becomes readable when the child writes to its stdout, and when it ends.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Reads what the child wrote: 0 bytes mean that it ended. Only after `output` was ready.
    ///
    /// # Errors
    /// Those of read(2).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }

    /// Kills the child if it still lives, and gives its exit code, `None` if a signal ended it.
    pub(crate) fn end(mut self, kill: bool) -> Option<c_int> {
        self.reap(kill)
    }

    fn reap(&mut self, kill: bool) -> Option<c_int> {
        if self.reaped {
            return None;
        }
        self.reaped = true;
        if kill {
            // SAFETY: the pid is that of a child which was not reaped yet, so it is still ours.
            // WHY: a send is bounded by its parent.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
        let mut status = 0;
        loop {
            // SAFETY: `status` is a live int.
            // WHY: nobody but the parent can read the exit code.
            let reaped = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            if reaped == self.pid {
                return libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            }
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return None;
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.reap(true);
    }
}
