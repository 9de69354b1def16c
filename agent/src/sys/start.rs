//! Where the program begins: C's `main`.
//!
//! std's own start-up would cost memory before it calls `main`. It looks for the end of the stack
//! (in glibc by reading `/proc/self/maps`, which leaves 350 KiB of libc resident) and maps a second
//! stack, to explain a stack overflow that bounded code does not have.

use std::ffi::{CStr, c_char};
use std::os::fd::AsRawFd;

use super::ARGUMENTS_MAX;

/// Makes `$run` the program: it gets the arguments, and returns the exit code.
macro_rules! program {
    ($run:path) => {
        // SAFETY: C's start-up code calls the one `main` of a program with these arguments.
        // WHY: only this name makes it the program's start.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _count: core::ffi::c_int,
            arguments: *const *const core::ffi::c_char,
        ) -> core::ffi::c_int {
            // SAFETY: as above.
            // WHY: as above.
            let arguments = unsafe { $crate::sys::start::prepare(arguments) };
            $run(arguments).into()
        }
    };
}
pub(crate) use program;

/// What has to be done before anything else. Returns the arguments; one that is missing is empty.
///
/// # Safety
/// `arguments` are those of C's `main`.
pub(crate) unsafe fn prepare(arguments: *const *const c_char) -> [&'static str; ARGUMENTS_MAX] {
    keep_descriptors();
    // SAFETY: SIG_IGN is a valid disposition and installs no code of ours.
    // WHY: as in std's start-up: when a peer hangs up, write fails, and the process goes on.
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
    taken
}

/// Opens /dev/null for each of stdin, stdout and stderr that is closed. Otherwise the first socket
/// would get its number, and receive our lines.
fn keep_descriptors() {
    while let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        std::mem::forget(null);
    }
}
