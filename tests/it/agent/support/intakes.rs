//! Network sinks as the tests need them.

use std::time::Duration;

use sandbox::{Intake, IntakeAnswer};

/// An intake that takes requests and does not answer them as long as the test runs.
pub(in crate::agent) fn hanging_intake() -> Intake {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer { delay: Duration::from_secs(600), ..IntakeAnswer::default() });
    intake
}

/// Checks how many detections the intake has received.
pub(in crate::agent) fn assert_points(intake: &Intake, expected: u32) {
    let points = intake.points();
    let is_expected = (points - f64::from(expected)).abs() < f64::EPSILON;
    assert!(is_expected, "{points} points instead of {expected}: {:?}", intake.requests());
}
