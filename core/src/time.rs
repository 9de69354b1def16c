//! Reads and writes timestamps: `2026-11-22T07:33:53.691Z` is milliseconds since the epoch.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "every number here has at most four digits, or is a u64 divided by a day"
)]

/// The time of an event, or that it is not known. It has half the size of an `Option<u64>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EventTime(u64);

impl EventTime {
    /// Not known.
    pub(crate) const NONE: Self = Self(u64::MAX);

    /// Milliseconds since the epoch, if it is known.
    pub(crate) const fn get(self) -> Option<u64> {
        match self {
            Self::NONE => None,
            Self(time_ms) => Some(time_ms),
        }
    }

    /// True if the time is known and is this one.
    pub(crate) const fn is(self, time_ms: u64) -> bool {
        self.0 == time_ms && time_ms != Self::NONE.0
    }

    pub(crate) const fn is_known(self) -> bool {
        self.0 != Self::NONE.0
    }

    /// Takes the time if none is known yet.
    pub(crate) const fn learn(&mut self, time_ms: u64) {
        if !self.is_known() {
            *self = Self(time_ms);
        }
    }
}

impl From<Option<u64>> for EventTime {
    fn from(time_ms: Option<u64>) -> Self {
        time_ms.map_or(Self::NONE, Self)
    }
}

/// Bytes of a timestamp as Lambda writes it, `2026-11-22T07:33:53.691Z`.
pub const TEXT_LEN: usize = 24;

/// Reads an RFC 3339 timestamp, and drops digits after the milliseconds. `None` for any other text,
/// and for a time before 1970.
#[must_use]
pub fn parse_rfc3339_ms(text: &[u8]) -> Option<u64> {
    let (year, text) = number(text, 4)?;
    let (month, text) = number(literal(text, b'-')?, 2)?;
    let (day, text) = number(literal(text, b'-')?, 2)?;
    let text = literal(text, b'T').or_else(|| literal(text, b' '))?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(literal(text, b':')?, 2)?;
    let (second, text) = number(literal(text, b':')?, 2)?;
    let (milli, text) = fraction_ms(text);
    let offset_minutes = offset_minutes(text)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let minutes = days_from_civil(year, month, day)?
        .checked_mul(1440)?
        .checked_add(hour.checked_mul(60)?)?
        .checked_add(minute)?
        .checked_sub(offset_minutes)?;
    let ms = minutes
        .checked_mul(60)?
        .checked_add(second.min(60))?
        .checked_mul(1000)?
        .checked_add(milli)?;
    u64::try_from(ms).ok()
}

/// Writes `2026-11-22T07:33:53.691Z`. A year after 9999 is written as 9999.
pub fn write_rfc3339_ms(ms: u64, out: &mut [u8; TEXT_LEN]) {
    let days = ms / 86_400_000;
    let (year, month, day) = civil_from_days(days);
    let within = ms % 86_400_000;
    *out = *b"0000-00-00T00:00:00.000Z";
    put(out, 0, 4, year.min(9999));
    put(out, 5, 2, month);
    put(out, 8, 2, day);
    put(out, 11, 2, within / 3_600_000);
    put(out, 14, 2, within / 60_000 % 60);
    put(out, 17, 2, within / 1000 % 60);
    put(out, 20, 3, within % 1000);
}

fn literal(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.split_first().and_then(|(first, rest)| (*first == byte).then_some(rest))
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let mut value = 0_i64;
    for byte in head {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(byte.wrapping_sub(b'0')))?;
    }
    Some((value, rest))
}

fn fraction_ms(text: &[u8]) -> (i64, &[u8]) {
    let Some(mut rest) = literal(text, b'.') else {
        return (0, text);
    };
    let mut ms = 0;
    let mut weight = 100;
    while let Some((value, after)) = number(rest, 1) {
        ms += value * weight;
        weight /= 10;
        rest = after;
    }
    (ms, rest)
}

fn offset_minutes(text: &[u8]) -> Option<i64> {
    let (sign, rest) = text.split_first()?;
    let (hours, rest) = match sign {
        b'Z' | b'z' => return rest.is_empty().then_some(0),
        b'+' | b'-' => number(rest, 2)?,
        _ => return None,
    };
    let (minutes, rest) = number(literal(rest, b':')?, 2)?;
    let offset = hours * 60 + minutes;
    rest.is_empty().then_some(if *sign == b'-' { -offset } else { offset })
}

/// Days since the epoch of a date of the proleptic Gregorian calendar
/// (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era.checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(719_468)
}

/// The inverse of [`days_from_civil`] from 1970 on.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

fn put(out: &mut [u8; TEXT_LEN], at: usize, digits: usize, mut value: u64) {
    for slot in out.iter_mut().skip(at).take(digits).rev() {
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(parse_rfc3339_ms(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn timestamps_of_lambda_and_others_are_read() {
        check("1970-01-01T00:00:00.000Z", Some(0));
        check("2026-11-22T07:34:59.678Z", Some(1_795_332_899_678));
        check("2026-11-22T07:34:59Z", Some(1_795_332_899_000));
        check("2026-11-22T07:34:59.67891Z", Some(1_795_332_899_678));
        check("2026-11-22T08:34:59.678+01:00", Some(1_795_332_899_678));
        check("2024-02-29T23:59:59.999Z", Some(1_709_251_199_999));
    }

    #[test]
    fn other_texts_are_no_timestamps() {
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T07:34",
            "2026-13-01T00:00:00Z",
            "2026-11-22T07:34:59",
            "2026-11-22T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T07:34:59.678Zz",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_written_timestamp_is_read_again() {
        let mut out = [0; TEXT_LEN];
        for ms in [0, 951_827_696_789, 1_709_251_199_999, 1_795_332_899_678, 253_402_300_799_999] {
            write_rfc3339_ms(ms, &mut out);
            assert_eq!(parse_rfc3339_ms(&out), Some(ms));
        }
    }
}
