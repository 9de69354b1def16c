//! The file survives as it was written, and no other file is touched.

use std::fs;
use std::path::{Path, PathBuf};

use oom_witness_core::{
    Confidence, DetectionKind, Event, EventKind, Evidence, EvidenceSet, RequestId, Settings,
    Source, StartKind, Status, Subject,
};

use super::*;
use crate::delivery::sink::{Sink, SinkContext, SinkSet, SinkSettings};

const FACTS: Facts = Facts {
    port: 6161,
    kills: Some(3),
    token: [7; TOKEN_SIZE],
    is_in_doubt: true,
    is_running: true,
};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("oom-witness")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn opened(path: &Path) -> Journal {
    let mut journal = Journal::none();
    journal.open(path.as_os_str());
    journal
}

fn detector() -> Detector {
    let mut detector = Detector::new(Settings::default());
    let request_id = RequestId::try_from("A").unwrap();
    detector.observe(
        &Event { time_ms: Some(100), kind: EventKind::Start { request_id } },
        0,
        &mut |_| {},
    );
    detector
}

fn outbox() -> Outbox {
    let mut sinks = SinkSet::default();
    for sink in Sink::ALL.iter().copied() {
        sinks.insert(sink);
    }
    let mut outbox = Outbox::new();
    outbox.set_sinks(sinks);
    let detection = Detection {
        kind: DetectionKind::HighWater,
        subject: Subject::Invocation(RequestId::try_from("A").unwrap()),
        evidence: EvidenceSet::of(&[Evidence::Fatal]),
        confidence: Confidence::Confirmed,
        status: Status::Error,
        time_ms: 100,
        memory_size_mb: Some(128),
        max_memory_used_mb: None,
        start: StartKind::Cold,
        count: 3,
    };
    let settings = SinkSettings::default();
    let context = SinkContext { source: Source::default(), settings: &settings };
    outbox.keep(&detection, &context);
    outbox
}

fn written(path: &Path) -> Vec<QueuedDetection> {
    let (detector, outbox) = (detector(), outbox());
    let mut journal = opened(path);
    journal.save(&detector, &outbox, FACTS);
    outbox.waiting().copied().collect()
}

#[test]
fn what_was_written_is_read() {
    let folder = Folder::new("read");
    let waiting = written(&folder.file());
    assert_eq!(waiting.len(), 1);
    let journal = opened(&folder.file());
    assert_eq!(journal.facts(), Some(FACTS));
    assert_eq!(journal.waiting().collect::<Vec<_>>(), waiting);
    assert!(Detector::new(Settings::default()).restore(journal.snapshot(), 0));
}

#[test]
fn a_file_with_a_missing_or_changed_byte_is_ignored() {
    let folder = Folder::new("torn");
    written(&folder.file());
    let whole = fs::read(folder.file()).unwrap();
    let length = u16::from_le_bytes([whole[LENGTH_AT], whole[LENGTH_AT + 1]]).into();
    for at in 0..length {
        fs::write(folder.file(), &whole[..at]).unwrap();
        assert_eq!(opened(&folder.file()).facts(), None, "cut at {at}");
        let mut other = whole.clone();
        other[at] ^= 0x10;
        fs::write(folder.file(), &other).unwrap();
        let journal = opened(&folder.file());
        assert_eq!((journal.facts(), journal.waiting().count()), (None, 0), "changed at {at}");
    }
    let of_another_version = [b"oomwit02", &whole[8..]].concat();
    fs::write(folder.file(), of_another_version).unwrap();
    let mut journal = opened(&folder.file());
    assert_eq!(journal.facts(), None);
    journal.save(&detector(), &outbox(), FACTS);
    assert_eq!(
        opened(&folder.file()).facts(),
        Some(FACTS),
        "a file of an older version is ours, and is overwritten"
    );
}

#[test]
fn a_removed_file_is_created_again() {
    let folder = Folder::new("removed");
    let (detector, outbox) = (detector(), outbox());
    let mut journal = opened(&folder.file());
    journal.save(&detector, &outbox, FACTS);
    fs::remove_file(folder.file()).unwrap();
    let facts = Facts { kills: Some(4), ..FACTS };
    journal.save(&detector, &outbox, facts);
    assert_eq!(opened(&folder.file()).facts(), Some(facts));
}

#[test]
fn a_file_of_another_program_is_not_changed() {
    let folder = Folder::new("theirs");
    let long = "somebody else's file, and a long one ".repeat(1000);
    for content in [long.as_str(), "short", "oomwi"] {
        fs::write(folder.file(), content).unwrap();
        let mut journal = opened(&folder.file());
        journal.save(&detector(), &outbox(), FACTS);
        assert!(journal.facts().is_none());
        assert_eq!(fs::read(folder.file()).unwrap(), content.as_bytes());
    }
    // Nor is a file of ours that has a second link: its other name may be in use.
    let other = folder.0.join("other");
    fs::remove_file(folder.file()).unwrap();
    written(&other);
    let whole = fs::read(&other).unwrap();
    fs::hard_link(&other, folder.file()).unwrap();
    let mut journal = opened(&folder.file());
    journal.save(&Detector::new(Settings::default()), &outbox(), FACTS);
    assert!(journal.facts().is_none());
    assert_eq!(fs::read(&other).unwrap(), whole);
}

#[test]
fn the_file_is_written_only_when_something_changed() {
    let folder = Folder::new("changed");
    let (mut detector, outbox) = (detector(), outbox());
    let mut journal = opened(&folder.file());
    let mut saved = |detector: &Detector, outbox: &Outbox, facts| {
        let file = File::options().write(true).open(folder.file()).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        journal.save(detector, outbox, facts);
        fs::metadata(folder.file()).unwrap().modified().unwrap()
            != std::time::SystemTime::UNIX_EPOCH
    };
    assert!(saved(&detector, &outbox, FACTS));
    assert!(!saved(&detector, &outbox, FACTS));
    let request_id = RequestId::try_from("B").unwrap();
    let observe = |kind, detector: &mut Detector| {
        detector.observe(&Event { time_ms: Some(200), kind }, 0, &mut |_| {});
    };
    observe(EventKind::Start { request_id }, &mut detector);
    assert!(!saved(&detector, &outbox, FACTS), "a quiet invocation");
    let error_type = oom_witness_core::ErrorType::None;
    let done = |status| EventKind::RuntimeDone { request_id, status, error_type };
    observe(done(Status::Success), &mut detector);
    assert!(!saved(&detector, &outbox, FACTS), "an invocation that succeeds");
    observe(done(Status::Error), &mut detector);
    assert!(saved(&detector, &outbox, FACTS), "an invocation that fails");
    assert!(saved(&detector, &outbox, Facts { kills: None, ..FACTS }));
}

#[test]
fn links_and_folders_are_not_changed() {
    let folder = Folder::new("odd");
    let target = folder.0.join("target");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, folder.file()).unwrap();
    for path in [folder.file(), folder.0.clone(), folder.0.join("no/such/folder")] {
        let mut journal = opened(&path);
        journal.save(&detector(), &outbox(), FACTS);
        assert!(journal.file.is_none(), "{}", path.display());
    }
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}
