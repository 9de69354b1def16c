//! Snapshots: any bytes, with a checksum or without, are refused or give a detector that works.
#![no_main]

#[path = "support/fnv.rs"]
mod fnv;

use libfuzzer_sys::fuzz_target;
use oom_witness_core::sizes::{DETECTION_SIZE, SNAPSHOT_SIZE};
use oom_witness_core::{Detection, Detector, Settings, ShutdownReason};

fuzz_target!(|data: &[u8]| {
    let mut snapshot = [0; SNAPSHOT_SIZE];
    for (slot, byte) in snapshot.iter_mut().zip(data) {
        *slot = *byte;
    }
    let mut own = [0; SNAPSHOT_SIZE];
    let length = Detector::new(Settings::default()).snapshot(&mut own);
    assert_eq!(sealed(own, length), own, "`sealed` does not seal as core does");
    let sealed = sealed(snapshot, SNAPSHOT_SIZE);
    for bytes in [snapshot, sealed] {
        let mut detector = Detector::new(Settings::default());
        detector.restore(&bytes, 5);
        detector.kernel_kill_before_restart(5, &mut |_| {});
        detector.kernel_kill(7, &mut |_| {});
        detector.shutdown(ShutdownReason::Failure, &mut |_| {});
        let mut again = [0; SNAPSHOT_SIZE];
        let length = detector.snapshot(&mut again);
        assert!(detector.restore(&again[..length], 9));
    }
    if let Some(bytes) = data.first_chunk::<DETECTION_SIZE>()
        && let Some(detection) = Detection::decode(bytes)
    {
        let mut again = [0; DETECTION_SIZE];
        detection.encode(&mut again);
        assert_eq!(Detection::decode(&again), Some(detection));
    }
});

/// The snapshot with this length and the right checksum: FNV-1a of everything before it. The
/// version changes its start.
fn sealed(mut snapshot: [u8; SNAPSHOT_SIZE], length: usize) -> [u8; SNAPSHOT_SIZE] {
    snapshot[..2].copy_from_slice(&(length as u16).to_le_bytes());
    let body = length - 8;
    let checksum = fnv::fnv1a(fnv::START ^ 4, &snapshot[..body]);
    snapshot[body..length].copy_from_slice(&checksum.to_le_bytes());
    snapshot
}
