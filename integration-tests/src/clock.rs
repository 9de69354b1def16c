//! Wall-clock times in the shapes that Lambda writes.

use std::time::Duration;

use jiff::Timestamp;

/// ISO 8601 with milliseconds and `Z`.
pub(crate) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Milliseconds since 1970, at a time `after` from now.
pub(crate) fn epoch_ms(after: Duration) -> i64 {
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 2);
    Timestamp::now().as_millisecond().saturating_add(after)
}

/// Milliseconds with the three decimals of `durationMs`.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
