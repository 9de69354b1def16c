//! What must survive a restart, in one file.
//!
//! In: the detector's snapshot, the detections that wait and how far each got, the port, the
//! kernel's count. Out, at the next start: the same, if the file is whole and ours.
//!
//! The file gets its blocks at the start, so that a write at the moment of an OOM needs no new one.
//! It is written in one pwrite(2), and only when something has changed that a restart must not
//! lose. An error is one warning. Without a journal the agent goes on, and a restart may count
//! again.
//!
//! ```text
//! magic | length: u16 | port: u16 | running: u8 | waiting: u8 | doubt: u8
//!       | kills: u64 | token: [u8; 16] | waiting detections | snapshot | checksum: u64
//! ```

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use oom_witness_core::sizes::{DETECTION_SIZE, SNAPSHOT_SIZE};
use oom_witness_core::{Detection, Detector, hash};

use crate::delivery::outbox::Outbox;
use crate::delivery::queue::WAITING_MAX;
use crate::delivery::queued_detection::QueuedDetection;
use crate::lambda::telemetry_api::TOKEN_SIZE;
use crate::logger::warn_once;

/// The file, and what it holds.
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// The revision in the file; `None` before the first write, and after one that failed.
    saved: Option<Revision>,
    /// The file's content. Only pages that are used are touched.
    image: [u8; SIZE],
}

/// Distinguishes the states of everything that is saved.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Revision {
    detector: u32,
    outbox: u32,
    facts: Facts,
}

/// What is saved besides the detector and the outbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Facts {
    /// The port of the telemetry listener: Lambda goes on posting there after a restart.
    pub(crate) port: u16,
    /// The kernel's count of kills.
    pub(crate) kills: Option<u64>,
    /// The token of Lambda's requests.
    pub(crate) token: [u8; TOKEN_SIZE],
    /// The next request may be the rest of a cut record.
    pub(crate) is_in_doubt: bool,
    /// True while a process runs. A process that finds it true knows that the previous one was
    /// killed.
    pub(crate) is_running: bool,
}

impl Journal {
    /// A journal that saves nothing.
    pub(crate) const fn none() -> Self {
        Self { path: PathBuf::new(), file: None, saved: None, image: [0; SIZE] }
    }

    /// Opens or creates the journal at `path`, and reads it.
    pub(crate) fn open(&mut self, path: &OsStr) {
        self.path = PathBuf::from(path);
        match with_retries(|| self.try_open()) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.warn(&error),
        }
        if self.file.is_none() || !is_whole(&self.image) {
            put(&mut self.image, 0, &[0; ENTRIES_AT]);
        }
    }

    fn try_open(&mut self) -> io::Result<File> {
        let file = open(&self.path)?;
        match file.read_exact_at(&mut self.image, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(file),
        }
    }

    /// The facts that were saved; `None` if the file is torn.
    pub(crate) fn facts(&self) -> Option<Facts> {
        if !is_whole(&self.image) {
            return None;
        }
        let kills = u64::from_le_bytes(part(&self.image, KILLS_AT)?);
        Some(Facts {
            port: u16::from_le_bytes(part(&self.image, PORT_AT)?),
            kills: (kills != u64::MAX).then_some(kills),
            token: part(&self.image, TOKEN_AT)?,
            is_in_doubt: part(&self.image, DOUBT_AT) == Some([1]),
            is_running: part(&self.image, RUNNING_AT) == Some([1]),
        })
    }

    /// The detector's snapshot. [`Detector::restore`] refuses one that is not whole.
    pub(crate) fn snapshot(&self) -> &[u8] {
        self.image.get(self.snapshot_at()..).unwrap_or_default()
    }

    /// The detections that were waiting.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = QueuedDetection> {
        let entries = self.image.get(ENTRIES_AT..self.snapshot_at()).unwrap_or_default();
        entries.chunks_exact(ENTRY_SIZE).filter_map(|entry| {
            let detection = Detection::decode(entry.first_chunk()?)?;
            let [sinks, begun] = part(entry, DETECTION_SIZE)?;
            QueuedDetection::restore(detection, sinks, begun)
        })
    }

    fn snapshot_at(&self) -> usize {
        let [count] = part(&self.image, COUNT_AT).unwrap_or_default();
        ENTRIES_AT + usize::from(count).min(WAITING_MAX) * ENTRY_SIZE
    }

    /// Writes the file, if anything has changed: one pwrite(2), and one stat(2) before it, as
    /// functions empty their /tmp.
    pub(crate) fn save(&mut self, detector: &Detector, outbox: &Outbox, facts: Facts) {
        let now = Revision { detector: detector.revision(), outbox: outbox.revision(), facts };
        if self.file.is_none() || self.saved == Some(now) {
            return;
        }
        let length = self.fill(detector, outbox, facts);
        let result = with_retries(|| self.write(length));
        self.saved = result.is_ok().then_some(now);
        if let Err(error) = result {
            self.warn(&error);
        }
    }

    /// Fills the image. Returns its length.
    fn fill(&mut self, detector: &Detector, outbox: &Outbox, facts: Facts) -> usize {
        put(&mut self.image, 0, MAGIC);
        put(&mut self.image, PORT_AT, &facts.port.to_le_bytes());
        put(&mut self.image, RUNNING_AT, &[u8::from(facts.is_running)]);
        put(&mut self.image, DOUBT_AT, &[u8::from(facts.is_in_doubt)]);
        put(&mut self.image, KILLS_AT, &facts.kills.unwrap_or(u64::MAX).to_le_bytes());
        put(&mut self.image, TOKEN_AT, &facts.token);
        let mut count = 0;
        let entries = self.image.get_mut(ENTRIES_AT..).unwrap_or_default();
        for (entry, waiting) in entries.chunks_exact_mut(ENTRY_SIZE).zip(outbox.waiting()) {
            if let Some(detection) = entry.first_chunk_mut() {
                waiting.detection.encode(detection);
            }
            put(entry, DETECTION_SIZE, &waiting.bits());
            count += 1;
        }
        put(&mut self.image, COUNT_AT, &[count]);
        let snapshot_at = self.snapshot_at();
        let room = self.image.get_mut(snapshot_at..).and_then(<[u8]>::first_chunk_mut);
        let body = snapshot_at + room.map_or(0, |room| detector.snapshot(room));
        let length = body + CHECKSUM_SIZE;
        put(&mut self.image, LENGTH_AT, &u16::try_from(length).unwrap_or(0).to_le_bytes());
        let sum = checksum(self.image.get(..body).unwrap_or_default());
        put(&mut self.image, body, &sum);
        length
    }

    fn write(&mut self, length: usize) -> io::Result<()> {
        let is_gone = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        if self.file.as_ref().is_some_and(is_gone) {
            self.file = Some(open(&self.path)?);
        }
        match &self.file {
            Some(file) => file.write_all_at(self.image.get(..length).unwrap_or_default(), 0),
            None => Ok(()),
        }
    }

    #[cold]
    fn warn(&self, error: &io::Error) {
        warn_once!("no journal at {}, a restart may count again: {error}", self.path.display());
    }
}

/// Tries again at once, since the kernel may refuse only for a moment.
fn with_retries<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut result = attempt();
    for _ in 1..TRIES_MAX {
        if result.is_ok() {
            break;
        }
        result = attempt();
    }
    result
}

/// How often opening and writing are tried.
const TRIES_MAX: u32 = 3;

/// Opens or creates our own regular file, without following a link and without blocking. Gives it
/// all the blocks that it may need.
fn open(path: &std::path::Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refusal("it is not a regular file"));
    }
    if metadata.nlink() > 1 {
        return Err(refusal("it is a hard link to a file, which is left alone"));
    }
    let mut program = [0; PROGRAM.len()];
    if metadata.len() == 0 {
        file.write_all_at(MAGIC, 0)?;
    } else if file.read_exact_at(&mut program, 0).is_err() || program != *PROGRAM {
        return Err(refusal("there is a file that is not ours, which is left alone"));
    }
    let pages = (0..SIZE as u64).step_by(PAGE_SIZE).skip(1);
    for page in pages.filter(|page| *page >= metadata.len()) {
        file.write_all_at(&[0], page)?;
    }
    Ok(file)
}

fn refusal(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn is_whole(image: &[u8; SIZE]) -> bool {
    let length = part(image, LENGTH_AT).map_or(0, u16::from_le_bytes);
    let whole = image.get(..usize::from(length)).unwrap_or_default();
    let sealed = whole.split_last_chunk::<CHECKSUM_SIZE>();
    whole.starts_with(MAGIC) && sealed.is_some_and(|(body, sum)| *sum == checksum(body))
}

/// FNV-1a of everything before the checksum.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_SIZE] {
    hash::fnv1a(hash::START, body).to_le_bytes()
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

/// The first bytes of the file in every version.
const PROGRAM: &[u8; 6] = b"oomwit";

/// The program and the version of this layout.
const MAGIC: &[u8; 8] = b"oomwit03";

const LENGTH_AT: usize = MAGIC.len();
const PORT_AT: usize = LENGTH_AT + 2;
const RUNNING_AT: usize = PORT_AT + 2;
const COUNT_AT: usize = RUNNING_AT + 1;
const DOUBT_AT: usize = COUNT_AT + 1;
const KILLS_AT: usize = 16;
const TOKEN_AT: usize = KILLS_AT + 8;
const ENTRIES_AT: usize = TOKEN_AT + TOKEN_SIZE;
/// A detection, the sinks that do not have it, and those of them to which a delivery has begun.
const ENTRY_SIZE: usize = DETECTION_SIZE + 2;
const CHECKSUM_SIZE: usize = 8;
const SIZE: usize = ENTRIES_AT + WAITING_MAX * ENTRY_SIZE + SNAPSHOT_SIZE + CHECKSUM_SIZE;

/// The size of a file system's blocks.
const PAGE_SIZE: usize = 4096;

#[cfg(test)]
mod tests;
