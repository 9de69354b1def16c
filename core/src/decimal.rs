//! Numbers as decimal digits, without the formatting code of the standard library.

/// Bytes of the longest number.
pub(crate) const DIGITS_MAX: usize = u64::MAX.ilog10() as usize + 1;

/// The digits of `value`, written to the end of `digits`.
pub(crate) fn decimal(mut value: u64, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut start = digits.len();
    for (index, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b'0' | u8::try_from(value % 10).unwrap_or(0);
        start = index;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}
