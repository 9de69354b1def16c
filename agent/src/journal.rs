//! What must survive a restart, in one fixed-size file.
//!
//! Goes in: the detector's snapshot, the detections on their way with what became of them, the port,
//! the kernel's count. Comes out, at the next start: the same, if the file is whole and ours. The
//! file is made at the start, so that no write at the moment of an OOM needs a new block; it is
//! written in one pwrite(2), only when something has changed. An error is one warning: without a
//! journal the agent goes on, and a restart may count again.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use oom_witness_core::limits::{DETECTION_SIZE, SNAPSHOT_SIZE};
use oom_witness_core::{Detection, Detector};

use crate::sink::outbox::{Outbox, WAITING_MAX, Waiting};
use crate::warn_once;

/// The file, and what it holds.
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<File>,
    image: [u8; SIZE],
    /// The last write failed: the file may hold anything.
    is_stale: bool,
}

/// What is kept beside the detector and the outbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Facts {
    /// Where telemetry was listened for: Lambda goes on posting there after a restart.
    pub(crate) port: u16,
    /// The kernel's count of kills, and when it was read, milliseconds since the epoch.
    pub(crate) kills: Option<u64>,
    pub(crate) kills_read_ms: u64,
    /// Set while a process runs: one that finds it was not the first, and the first was killed.
    pub(crate) is_running: bool,
}

impl Journal {
    /// Keeps nothing.
    pub(crate) const fn none() -> Self {
        Self { path: PathBuf::new(), file: None, image: [0; SIZE], is_stale: false }
    }

    /// Opens the journal at `path`, or makes it; reads what is in it.
    pub(crate) fn open(&mut self, path: &OsStr) {
        self.path = PathBuf::from(path);
        match persistently(|| self.try_open()) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.warn(&error),
        }
        if !is_whole(&self.image) {
            self.image = [0; SIZE];
        }
    }

    fn try_open(&mut self) -> io::Result<File> {
        let file = open(&self.path)?;
        match file.read_exact_at(&mut self.image, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(file),
        }
    }

    /// The facts that were kept; none of a torn or foreign file.
    pub(crate) fn facts(&self) -> Option<Facts> {
        if !is_whole(&self.image) {
            return None;
        }
        let port = u16::from_le_bytes(part(&self.image, PORT_AT)?);
        let kills = u64::from_le_bytes(part(&self.image, KILLS_AT)?);
        Some(Facts {
            port,
            kills: (kills != u64::MAX).then_some(kills),
            kills_read_ms: u64::from_le_bytes(part(&self.image, KILLS_READ_AT)?),
            is_running: part(&self.image, RUNNING_AT) == Some([1]),
        })
    }

    /// The detector's snapshot; [`Detector::restore`] refuses one that is not whole.
    pub(crate) fn snapshot(&self) -> Option<&[u8; SNAPSHOT_SIZE]> {
        self.image.get(SNAPSHOT_AT..)?.first_chunk()
    }

    /// The detections that were on their way.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Waiting> {
        let entries = self.image.get(ENTRIES_AT..CHECKSUM_AT).unwrap_or_default();
        entries.chunks_exact(ENTRY_SIZE).filter_map(|entry| {
            let detection = Detection::decode(entry.first_chunk()?)?;
            let [open, started] = part(entry, DETECTION_SIZE)?;
            Waiting::restore(detection, open, started)
        })
    }

    /// Writes what has changed; nothing if nothing has. One pwrite(2), and one stat(2) before it:
    /// functions empty their /tmp.
    pub(crate) fn save(&mut self, detector: &Detector, outbox: &Outbox, facts: Facts) {
        if self.file.is_none() {
            return;
        }
        let before: [u8; 8] = part(&self.image, CHECKSUM_AT).unwrap_or_default();
        self.fill(detector, outbox, facts);
        let is_same = part(&self.image, CHECKSUM_AT) == Some(before);
        if is_same && !self.is_stale && !self.is_gone() {
            return;
        }
        let result = persistently(|| self.write());
        self.is_stale = result.is_err();
        if let Err(error) = result {
            self.warn(&error);
        }
    }

    fn fill(&mut self, detector: &Detector, outbox: &Outbox, facts: Facts) {
        put(&mut self.image, 0, MAGIC);
        put(&mut self.image, PORT_AT, &facts.port.to_le_bytes());
        put(&mut self.image, RUNNING_AT, &[u8::from(facts.is_running)]);
        put(&mut self.image, KILLS_AT, &facts.kills.unwrap_or(u64::MAX).to_le_bytes());
        put(&mut self.image, KILLS_READ_AT, &facts.kills_read_ms.to_le_bytes());
        if let Some(snapshot) = self.image.get_mut(SNAPSHOT_AT..).and_then(<[u8]>::first_chunk_mut)
        {
            detector.snapshot(snapshot);
        }
        let entries = self.image.get_mut(ENTRIES_AT..CHECKSUM_AT).unwrap_or_default();
        entries.fill(0);
        for (entry, waiting) in entries.chunks_exact_mut(ENTRY_SIZE).zip(outbox.waiting()) {
            if let Some(detection) = entry.first_chunk_mut() {
                waiting.detection.encode(detection);
            }
            put(entry, DETECTION_SIZE, &waiting.bits());
        }
        let sum = checksum(&self.image);
        put(&mut self.image, CHECKSUM_AT, &sum);
    }

    /// True if the file has been removed from its folder.
    fn is_gone(&self) -> bool {
        let metadata = self.file.as_ref().map(File::metadata);
        matches!(metadata, Some(Ok(metadata)) if metadata.nlink() == 0)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.is_gone() {
            self.file = Some(open(&self.path)?);
        }
        match &self.file {
            Some(file) => file.write_all_at(&self.image, 0),
            None => Ok(()),
        }
    }

    #[cold]
    fn warn(&self, error: &io::Error) {
        warn_once!("no journal at {}, a restart may count again: {error}", self.path.display());
    }
}

/// What the kernel refuses for the moment it may grant at once.
fn persistently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut result = attempt();
    for _ in 1..TRIES_MAX {
        if result.is_ok() {
            break;
        }
        result = attempt();
    }
    result
}

const TRIES_MAX: u32 = 3;

/// Opens a regular file without following a link and without waiting for anybody.
fn open(path: &std::path::Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

fn is_whole(image: &[u8; SIZE]) -> bool {
    image.starts_with(MAGIC) && part(image, CHECKSUM_AT) == Some(checksum(image))
}

/// FNV-1a over all that stands before it.
fn checksum(image: &[u8; SIZE]) -> [u8; 8] {
    let body = image.get(..CHECKSUM_AT).unwrap_or_default();
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    sum.to_le_bytes()
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    let rest = bytes.get_mut(at..).unwrap_or_default();
    if let Some(slot) = rest.get_mut(..part.len()) {
        slot.copy_from_slice(part);
    }
}

/// The program and the version of this layout.
const MAGIC: &[u8; 8] = b"oomwit01";

const PORT_AT: usize = MAGIC.len();
const RUNNING_AT: usize = PORT_AT + 2;
const KILLS_AT: usize = 16;
const KILLS_READ_AT: usize = KILLS_AT + 8;
const SNAPSHOT_AT: usize = KILLS_READ_AT + 8;
const ENTRIES_AT: usize = SNAPSHOT_AT + SNAPSHOT_SIZE;
/// A detection, the sinks that it has not reached, and those of them that were begun.
const ENTRY_SIZE: usize = DETECTION_SIZE + 2;
const CHECKSUM_AT: usize = ENTRIES_AT + WAITING_MAX * ENTRY_SIZE;
const SIZE: usize = CHECKSUM_AT + 8;

#[cfg(test)]
mod tests;
