//! Reads a JSON number without floats: its value as a whole number, whatever its spelling.

/// A JSON number that is being read. `128`, `128.0` and `1.28e2` have the same value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    mantissa: u64,
    /// Decimal places to move the point to the right.
    scale: i32,
    exponent: i32,
    part: NumberPart,
    negative: bool,
    exponent_negative: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NumberPart {
    Integer,
    Fraction,
    Exponent,
}

impl Number {
    pub(super) const ZERO: Self = Self {
        mantissa: 0,
        scale: 0,
        exponent: 0,
        part: NumberPart::Integer,
        negative: false,
        exponent_negative: false,
    };

    /// Takes the next byte.
    pub(super) fn push(&mut self, byte: u8) {
        match (byte, self.part) {
            (b'-', NumberPart::Exponent) => self.exponent_negative = true,
            (b'-', _) => self.negative = true,
            (b'.', _) => self.part = NumberPart::Fraction,
            (b'e' | b'E', _) => self.part = NumberPart::Exponent,
            (b'0'..=b'9', NumberPart::Exponent) => {
                let digit = i32::from(byte.wrapping_sub(b'0'));
                self.exponent = self.exponent.saturating_mul(10).saturating_add(digit);
            }
            (b'0'..=b'9', part) => self.push_digit(byte.wrapping_sub(b'0'), part),
            _ => {}
        }
    }

    fn push_digit(&mut self, digit: u8, part: NumberPart) {
        let grown = self.mantissa.checked_mul(10).and_then(|m| m.checked_add(u64::from(digit)));
        match (grown, part) {
            (Some(mantissa), NumberPart::Fraction) => {
                self.mantissa = mantissa;
                self.scale = self.scale.saturating_sub(1);
            }
            (Some(mantissa), _) => self.mantissa = mantissa,
            // This digit no longer fits. Only the place of the point matters.
            (None, NumberPart::Fraction) => {}
            (None, _) => self.scale = self.scale.saturating_add(1),
        }
    }

    /// The value, rounded towards zero. `None` if it is negative.
    pub(super) fn value(&self) -> Option<u64> {
        let exponent =
            if self.exponent_negative { self.exponent.saturating_neg() } else { self.exponent };
        let scale = self.scale.saturating_add(exponent);
        let power = 10_u64.checked_pow(scale.unsigned_abs());
        let value = match (power, scale >= 0) {
            (Some(power), true) => self.mantissa.saturating_mul(power),
            (Some(power), false) => self.mantissa.checked_div(power).unwrap_or(0),
            (None, true) if self.mantissa > 0 => u64::MAX,
            (None, _) => 0,
        };
        if self.negative && value > 0 { None } else { Some(value) }
    }
}
