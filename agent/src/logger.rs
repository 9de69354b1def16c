//! Our own lines: `LEVEL oom-witness: what happened`, on stderr.
//!
//! Goes in: records of the `log` facade. Comes out: one write(2) a line. It never allocates, never
//! waits and never fails: simple_logger, and std's `eprintln!` under it, end the process when stderr
//! cannot be written, and a log line must not take the agent with it. A line for which stderr has no
//! room is lost; the next one that gets through says how many were.

use std::fmt::{Arguments, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::sys::{self, Stream};

/// The longest line; what is longer is cut.
const LINE_SIZE: usize = 1024;

const _: () = assert!(LINE_SIZE <= sys::LINE_MAX);

/// ` (4294967295 lines before this one were lost)` and the line's end.
const LOST_SIZE: usize = 48;

static LOGGER: Logger = Logger;

/// Lets lines of `level` and above pass.
pub(crate) fn start(level: LevelFilter) {
    // Fails only if there is a logger already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// Writes one line, without any level.
#[cold]
#[inline(never)]
pub(crate) fn say(text: Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE_SIZE], length: 0 };
    // What does not fit is cut; nothing else can fail.
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

struct Line {
    bytes: [u8; LINE_SIZE],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        // The last byte is the line's end.
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
