//! What a sink's answer means.

use super::outcome_of;
use crate::sink::outbox::Outcome;

#[test]
fn statuses() {
    for (status, expected) in [
        (200, Outcome::Taken),
        (202, Outcome::Taken),
        (301, Outcome::Refused),
        (400, Outcome::Refused),
        (403, Outcome::Refused),
        (408, Outcome::NotTaken),
        (413, Outcome::Refused),
        (429, Outcome::NotTaken),
        (500, Outcome::NotTaken),
        (502, Outcome::Unknown),
        (503, Outcome::NotTaken),
        (504, Outcome::Unknown),
    ] {
        assert_eq!(outcome_of(status), expected, "{status}");
    }
}
