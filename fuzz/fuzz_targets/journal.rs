//! The journal: from any bytes as its file, and from any torn write, the agent reads what was
//! written whole, or nothing.
//!
//! The input is the file. It is also a telemetry batch, in whose middle and at whose end the agent
//! writes its journal.
#![no_main]

#[path = "support/fnv.rs"]
mod fnv;

include!("../agent.rs");

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use delivery::outbox::Outbox;
use delivery::queued_detection::QueuedDetection;
use journal::{Facts, Journal};
use libfuzzer_sys::fuzz_target;
use oom_witness_core::sizes::SNAPSHOT_SIZE;
use oom_witness_core::{Detector, Event, Scanner, Settings, ShutdownReason};

/// How many torn writes one run tries.
const TEARS: usize = 16;

/// In memory: on a disk each rewritten file costs milliseconds.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| format!("/dev/shm/fuzz-journal-{}", std::process::id()).into());

/// Everything that can be read from a journal.
#[derive(Clone, Debug, PartialEq)]
struct JournalContent {
    facts: Facts,
    /// Cut to the length that its first bytes state.
    snapshot: Vec<u8>,
    waiting: Vec<QueuedDetection>,
}

/// What the agent knows when it writes its journal.
struct AgentState {
    detector: Detector,
    outbox: Outbox,
    facts: Facts,
}

fuzz_target!(|data: &[u8]| {
    check_file(data);

    let (first, second) = data.split_at(data.len() / 2);
    let mut agent = AgentState::new(data);
    let mut scanner = Scanner::new();
    agent.learn(&mut scanner, first);
    let (before, old) = agent.write();
    assert_eq!(before, agent.content());
    agent.learn(&mut scanner, second);
    agent.end(data);
    let (after, new) = agent.write();
    assert_eq!(after, agent.content());
    assert_eq!(
        old.len(),
        new.len(),
        "the file grows, although its blocks must be there from the start"
    );

    for tear in data.chunks(2).take(TEARS) {
        let at = number(tear) % new.len();
        for rest in [&old[at..], &[]] {
            fs::write(&*FILE, [&new[..at], rest].concat()).expect("a file for the journal");
            if let Some(torn) = read() {
                // Zeros are read where a file has ended.
                let missing = sealed(&new).get(at..).unwrap_or_default();
                let is_whole = missing.iter().all(|byte| *byte == 0);
                assert!(!rest.is_empty() || is_whole, "cut at {at}");
                assert!(torn == before || torn == after, "torn at {at}: {torn:?}");
            }
        }
    }

    // A journal that is changed anywhere, with the right checksum.
    let mut changed = new;
    for change in data.chunks(3) {
        let at = number(change) % changed.len();
        changed[at] = *change.last().expect("chunks are not empty");
    }
    seal(&mut changed);
    check_file(&changed);
    fs::remove_file(&*FILE).expect("a file of ours");
});

/// Checks that what is read from a file is read again after it was written.
fn check_file(bytes: &[u8]) {
    fs::write(&*FILE, bytes).expect("a file for the journal");
    let Some(found) = read() else { return };
    assert!(is_sealed(bytes), "read, although it is torn");
    let agent = AgentState::restored(&found);
    let (again, image) = agent.write();
    assert_eq!(again, agent.content());
    assert_eq!(found.facts, again.facts);
    fs::write(&*FILE, &image).expect("a file for the journal");
    assert_eq!(read(), Some(again));
}

fn read() -> Option<JournalContent> {
    let mut journal = Journal::none();
    journal.open(FILE.as_os_str());
    let waiting: Vec<QueuedDetection> = journal.waiting().collect();
    let facts = journal.facts();
    assert!(facts.is_some() || waiting.is_empty(), "a detection from a file that is no journal");
    let snapshot = journal.snapshot();
    let length = number(&[snapshot[1], snapshot[0]]).min(snapshot.len());
    Some(JournalContent { facts: facts?, snapshot: snapshot[..length].to_vec(), waiting })
}

impl AgentState {
    fn new(data: &[u8]) -> Self {
        let facts = Facts {
            port: number(data) as u16,
            kills: (data.len() % 3 > 0).then_some(data.len() as u64),
            token: [data.len() as u8; 16],
            is_in_doubt: data.len() % 5 > 0,
            is_running: data.len() % 2 > 0,
        };
        Self { detector: Detector::new(Settings::default()), outbox: Outbox::new(), facts }
    }

    /// Restores everything, as the agent does at its start.
    fn restored(found: &JournalContent) -> Self {
        let mut agent = Self::new(&[]);
        agent.facts = found.facts;
        agent.detector.restore(&found.snapshot, 0);
        for waiting in &found.waiting {
            agent.outbox.restore(*waiting);
        }
        agent
    }

    fn learn(&mut self, scanner: &mut Scanner, bytes: &[u8]) {
        let Self { detector, outbox, .. } = self;
        scanner.feed(bytes, &mut |event: &Event| {
            detector.observe(event, 7, &mut |detection| {
                restore(outbox, *detection, bytes.len());
            });
        });
    }

    fn end(&mut self, data: &[u8]) {
        let Self { detector, outbox, .. } = self;
        detector.shutdown(ShutdownReason::Failure, &mut |detection| {
            restore(outbox, *detection, data.len());
        });
    }

    /// What its journal must contain.
    fn content(&self) -> JournalContent {
        let mut snapshot = [0; SNAPSHOT_SIZE];
        let length = self.detector.snapshot(&mut snapshot);
        let snapshot = snapshot[..length].to_vec();
        JournalContent {
            facts: self.facts,
            snapshot,
            waiting: self.outbox.waiting().copied().collect(),
        }
    }

    /// Writes a new journal. Returns what is read from it, and its bytes.
    fn write(&self) -> (JournalContent, Vec<u8>) {
        let _ = fs::remove_file(&*FILE);
        let mut journal = Journal::none();
        journal.open(FILE.as_os_str());
        journal.save(&self.detector, &self.outbox, self.facts);
        let image = fs::read(&*FILE).expect("the journal's file");
        assert!(is_sealed(&image));
        (read().expect("a whole journal"), image)
    }
}

/// Adds a detection that waits for some sinks. `Outbox::keep` would write a line for each.
fn restore(outbox: &mut Outbox, detection: oom_witness_core::Detection, choice: usize) {
    if let Some(waiting) = QueuedDetection::restore(detection, 1 + (choice % 3) as u8, 0) {
        outbox.restore(waiting);
    }
}

fn number(bytes: &[u8]) -> usize {
    let byte = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
    byte(0) << 8 | byte(1)
}

/// The bytes with their checksum. Bytes 8 and 9 have their length. The rest of the file is unused.
fn sealed(image: &[u8]) -> &[u8] {
    let length = image.get(8..10).map_or(0, |length| number(&[length[1], length[0]]));
    image.get(..length).unwrap_or_default()
}

/// FNV-1a of all but the last eight bytes.
fn checksum(sealed: &[u8]) -> [u8; 8] {
    let body = &sealed[..sealed.len().saturating_sub(8)];
    fnv::fnv1a(fnv::START, body).to_le_bytes()
}

fn seal(image: &mut [u8]) {
    let length = sealed(image).len();
    if length >= 8 {
        let sum = checksum(sealed(image));
        image[length - 8..length].copy_from_slice(&sum);
    }
}

fn is_sealed(image: &[u8]) -> bool {
    sealed(image).ends_with(&checksum(sealed(image)))
}
