//! Names that say which process made something, so that a later one knows whether it still runs.
//!
//! `PID-STARTTIME-N`: the start time differs for a process that got the same number later.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::procfs;

/// A new name of this process.
pub(crate) fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    format!("{pid}-{}-{number}", start_time(pid).unwrap_or(0))
}

/// A name of another process.
pub(crate) fn of(pid: u32) -> String {
    format!("{pid}-{}-0", start_time(pid).unwrap_or(0))
}

/// The process and its start time in a name of this shape.
pub(crate) fn parse(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.split('-');
    let (pid, start, number) = (parts.next()?, parts.next()?, parts.next()?);
    number.parse::<u32>().ok()?;
    if parts.next().is_some() {
        return None;
    }
    Some((pid.parse().ok()?, start.parse().ok()?))
}

pub(crate) fn alive((pid, start): (u32, u64)) -> bool {
    start_time(pid) == Some(start)
}

fn start_time(pid: u32) -> Option<u64> {
    Some(procfs::process(pid)?.stat().ok()?.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_form_are_read() {
        assert_eq!(parse("12-3400-0"), Some((12, 3400)));
        for name in ["12-3400", "12-3400-0-1", "user.slice", "a-b-c", "12-3400-x"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn this_process_is_alive_and_one_that_took_its_number_is_not() {
        let pid = std::process::id();
        let start = start_time(pid).expect("this process has a start time");
        assert!(alive((pid, start)));
        assert!(!alive((pid, start + 1)));
    }
}
