//! A child process: this program again, with other arguments.
//!
//! In: arguments, and bytes for its stdin. Out: [`Child`], its output and its exit status.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use super::ARGUMENTS_MAX;

/// Runs `/proc/self/exe` with `arguments`, and passes `input` to its stdin. The child's stdin and
/// stdout are [`Child`]'s socket. It inherits stderr and the environment.
///
/// It costs two descriptors while the child starts, one while the child runs, and no memory. It
/// works like posix_spawn(3), which would need a pipe in addition and, in glibc, would map a stack.
/// If exec fails, the child ends with [`NOT_STARTED`].
///
/// `input` has to fit into an empty socket (at least 4,608 bytes), as the child does not read yet.
///
/// # Errors
/// Those of socketpair, write and clone. No process has been started then.
pub(crate) fn spawn(arguments: &[&'static CStr], input: &[u8]) -> io::Result<Child> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(input)?;
    let mut plan = ExecPlan { fd: theirs.as_raw_fd(), argv: [ptr::null(); ARGUMENTS_MAX + 1] };
    for (pointer, argument) in plan.argv.iter_mut().zip(arguments.iter().take(ARGUMENTS_MAX)) {
        *pointer = argument.as_ptr();
    }
    let mut stack = [MaybeUninit::<u128>::uninit(); CHILD_STACK_SIZE / size_of::<u128>()];
    // SAFETY: with CLONE_VFORK this thread, the only one, is suspended until the child has left our
    // memory. So `stack`, whose end is aligned, and `plan` live longer than the child uses them.
    // WHY: std::process makes 450 KiB of its own code resident, and allocates for each child.
    let pid = unsafe {
        libc::clone(
            become_child,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut plan).cast(),
        )
    };
    if pid < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(Child { pid, ours, is_reaped: false })
    }
}

/// What the child needs for its exec.
struct ExecPlan {
    fd: c_int,
    argv: [*const c_char; ARGUMENTS_MAX + 1],
}

/// The child makes a few system calls before exec, and catches no signal.
const CHILD_STACK_SIZE: usize = 1024;

/// Processors require this alignment of a stack.
const _: () = assert!(align_of::<u128>() == 16);

/// The exit code of a child whose exec failed.
const NOT_STARTED: c_int = 127;

/// The child before its exec. It runs in its parent's memory, and only makes system calls.
extern "C" fn become_child(plan: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its own `ExecPlan`, which it keeps until this process has left its
    // memory. `argv` and `environ` are null-terminated. Stdout is open, so `fd` has another number,
    // and both copies are without close-on-exec, whatever that number is. `_exit` runs no code of
    // ours.
    // WHY: see `spawn`.
    unsafe {
        let ExecPlan { fd, argv } = &*plan.cast::<ExecPlan>();
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

/// How often kill(2) and waitpid(2) are tried, if the kernel refuses.
const TRIES_MAX: u32 = 10;

/// A child process, which is killed and reaped when this is dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    ours: UnixStream,
    is_reaped: bool,
}

impl Child {
    /// Becomes readable when the child writes to its stdout, and when it ends.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    /// Reads what the child wrote; 0 bytes mean that it has ended. Call it only when `output` is
    /// ready.
    ///
    /// # Errors
    /// Those of read(2).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ours.read(buffer)
    }

    /// Waits for the child's end; with `kill`, kills it first. `None` if the kernel does not say
    /// how it ended.
    pub(crate) fn end(mut self, kill: bool) -> Option<ExitStatus> {
        self.reap(kill)
    }

    fn reap(&mut self, kill: bool) -> Option<ExitStatus> {
        if self.is_reaped {
            return None;
        }
        self.is_reaped = true;
        // The kernel may refuse for a moment. A child that has ended can still be killed.
        for _ in 0..if kill { TRIES_MAX } else { 0 } {
            // SAFETY: the child has not been reaped, so the pid is still its own.
            // WHY: the parent bounds the time of a send.
            if unsafe { libc::kill(self.pid, libc::SIGKILL) } == 0 {
                break;
            }
        }
        let mut status = 0;
        for _ in 0..TRIES_MAX {
            // SAFETY: `status` is a live int.
            // WHY: only the parent can read how it ended.
            let pid = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            if pid == self.pid {
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
