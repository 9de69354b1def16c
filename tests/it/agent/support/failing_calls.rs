//! Lets each system call of a process fail, in one run each.
//!
//! This is sqlite's method. The first call of a name fails in the first run, the second in the
//! next, until a run has no call left to fail. It is done for each name, and for each error of a
//! kernel that lacks something. Calls before `main` belong to libc and the loader, and always pass.
//! `cargo test` takes a sample of the runs. `OOM_WITNESS_FAULTS=all` makes all of them.

use std::env;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::strace::{Strace, before_and_after_main, calls};

/// The errors of a kernel that lacks something, or is interrupted.
pub(in crate::agent) const ERRORS: [&str; 8] =
    ["ENOMEM", "ENOBUFS", "EMFILE", "EINTR", "EAGAIN", "ENOSPC", "EPIPE", "ECONNRESET"];

/// Calls that the kernel never refuses: they end the process.
pub(in crate::agent) const NEVER_REFUSED: [&str; 2] = ["exit_group", "exit"];

/// Runs at once. They mostly wait.
pub(in crate::agent) const WORKERS: usize = 4;

/// The calls of one name, and what happens to one of them.
#[derive(Clone, Debug)]
struct FailingCall {
    name: String,
    /// Calls before `main`.
    before: usize,
    /// For strace: `error=ENOMEM`, `signal=KILL`.
    injection: String,
}

/// True if every run is to be made, not a sample.
pub(in crate::agent) fn is_all_asked_for() -> bool {
    env::var_os("OOM_WITNESS_FAULTS").is_some()
}

/// Makes the runs. `trace` is that of a run in which nothing fails. Each worker has its own closure
/// from `new_worker`, which makes one run under strace and checks it; its other argument says which
/// call fails. Without `OOM_WITNESS_FAULTS`, one of `sample` runs is made.
pub(in crate::agent) fn fail_each_call<Run: FnMut(&Strace, &str)>(
    label: &str,
    trace: &str,
    injections: &[String],
    sample: usize,
    new_worker: impl Fn() -> Run + Sync,
) {
    let todo = Mutex::new(failing_calls(trace, injections).into_iter().enumerate());
    let (runs, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut run = new_worker();
        loop {
            let next = todo.lock().expect("no panic").next();
            let Some((index, call)) = next else { break };
            for number in numbers(index, sample) {
                let FailingCall { name, before, injection } = &call;
                // The kernel's brk returns no error. It returns the end of the heap.
                let is_brk = name == "brk" && injection.starts_with("error=");
                let injection = if is_brk { "retval=0" } else { injection.as_str() };
                let what = format!("{label}: {name} number {number}, {injection}");
                let strace = Strace::injecting(name, injection, before + number);
                let fails = || {
                    run(&strace, &what);
                    strace.has_injected()
                };
                match catch_unwind(AssertUnwindSafe(fails)) {
                    Ok(false) => break,
                    Ok(true) => {}
                    Err(_) => failures.lock().expect("no panic").push(what),
                }
                runs.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    println!("{label}: {runs:?} runs, each with a system call that failed");
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(runs.into_inner() > 0);
}

/// Each name of a trace with each injection.
fn failing_calls(trace: &str, injections: &[String]) -> Vec<FailingCall> {
    let counts = before_and_after_main(&calls(trace));
    let is_tried = |name: &str, after: usize| !NEVER_REFUSED.contains(&name) && after > 0;
    let names = counts.iter().filter(|(name, (_, after))| is_tried(name, *after));
    let with_each = |(name, (before, _)): (&String, &(usize, usize))| {
        let (name, before) = (name.clone(), *before);
        let call = move |injection: &String| FailingCall {
            name: name.clone(),
            before,
            injection: injection.clone(),
        };
        injections.iter().map(call).collect::<Vec<_>>()
    };
    names.flat_map(with_each).collect()
}

/// Which calls of a name fail: all until none is left, or a sample.
fn numbers(index: usize, sample: usize) -> Range<usize> {
    if is_all_asked_for() {
        return 0..usize::MAX;
    }
    let number = index / sample % 3;
    number..number + usize::from(index.is_multiple_of(sample))
}
