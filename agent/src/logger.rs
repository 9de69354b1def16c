//! The agent's log lines, on stderr: `LEVEL oom-witness: what happened`.
//!
//! In: records of the `log` facade. Out: one write(2) for each line. It never allocates, waits or
//! fails. simple_logger uses std's `eprintln!`, which ends the process when stderr cannot be
//! written, and a log line must not end the agent. A line for which stderr has no room is lost. The
//! next line that is written says how many were.

use std::fmt::{Arguments, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::sys::{self, Stream};

/// The longest line. A longer one is cut.
const LINE_SIZE: usize = 1024;

const _: () = assert!(LINE_SIZE <= sys::LINE_MAX);

/// Room for ` (4294967295 lines before this one were lost)` and the line's end.
const LOST_SIZE: usize = 48;

static LOGGER: Logger = Logger;

/// Logs a warning the first time only. The last line of the process counts what repeats.
macro_rules! warn_once {
    ($($message:tt)+) => {{
        static WARNED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
        if !WARNED.swap(true, core::sync::atomic::Ordering::Relaxed) {
            log::warn!($($message)+);
        }
    }};
}
pub(crate) use warn_once;

/// Starts logging, of lines at `level` and above.
pub(crate) fn start(level: LevelFilter) {
    // This fails only if a logger is set already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// Writes one line, whatever the level is.
#[cold]
#[inline(never)]
pub(crate) fn say(text: Arguments<'_>) {
    let mut line = LineBuffer { bytes: [0; LINE_SIZE], length: 0 };
    // Text that does not fit is cut. Nothing else can fail.
    let _ = line.write_fmt(text);
    let lost = sys::take_lost_lines();
    if lost > 0 {
        line.length = line.length.min(LINE_SIZE - LOST_SIZE);
        let (lines, were) = if lost == 1 { ("line", "was") } else { ("lines", "were") };
        let _ = write!(line, " ({lost} {lines} before this one {were} lost)");
    }
    if let Some(end) = line.bytes.get_mut(line.length) {
        *end = b'\n';
    }
    let bytes = line.bytes.get(..=line.length).unwrap_or_default();
    if sys::write_line(Stream::Stderr, bytes).is_err() {
        sys::put_back_lost_lines(lost);
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        say(format_args!("{} oom-witness: {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

struct LineBuffer {
    bytes: [u8; LINE_SIZE],
    length: usize,
}

impl Write for LineBuffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        // The last byte is kept for the line's end.
        let room = self.bytes.get_mut(self.length..LINE_SIZE - 1).unwrap_or_default();
        let count = room.len().min(text.len());
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            // One line stays one line.
            *to = if from == b'\n' { b' ' } else { from };
        }
        self.length += count;
        Ok(())
    }
}
