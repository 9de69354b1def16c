use super::*;
extern crate std;
use std::vec::Vec;

#[test]
fn the_simplest_case() {
    let mut detector = Detector::new(Settings::default());
    let id = RequestId::try_from("a").unwrap();
    let mut found = Vec::new();
    for (time, kind) in [
        (10, EventKind::Start { request_id: id }),
        (
            20,
            EventKind::RuntimeDone {
                request_id: id,
                status: Status::Error,
                error_type: ErrorType::OutOfMemory,
            },
        ),
    ] {
        let event = Event { time_ms: Some(time), kind };
        detector.observe(&event, 0, &mut |detection| found.push(*detection));
    }
    assert_eq!(found.len(), 1);
}
