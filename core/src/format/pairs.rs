//! Pairs as OpenTelemetry's variables have them: `key=value`, with commas between the pairs and `%`
//! escapes in both parts
//! (<https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>).

/// The pairs of a text, each part with its escapes. A pair without `=` or with an empty key is left
/// out.
pub fn encoded_pairs(text: &str) -> impl Iterator<Item = (DecodedText<'_>, DecodedText<'_>)> {
    text.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let [key, value] = [key, value].map(|part| DecodedText(part.trim().as_bytes()));
        (!key.0.is_empty()).then_some((key, value))
    })
}

/// True if each pair has a key and a value that are UTF-8 without their escapes. An empty text has
/// no pair.
#[must_use]
pub fn are_pairs(text: &str) -> bool {
    let is_pair = |pair: &str| {
        let mut pairs = encoded_pairs(pair);
        pairs.next().is_some_and(|(key, value)| key.is_text() && value.is_text())
    };
    text.trim().is_empty() || text.split(',').all(is_pair)
}

/// The bytes of a text with `%` escapes, decoded. A `%` without two digits stands for itself.
#[derive(Clone, Debug)]
pub struct DecodedText<'a>(&'a [u8]);

impl DecodedText<'_> {
    /// How many bytes the text has with its escapes, which is at least as many as without them.
    #[must_use]
    pub const fn encoded_size(&self) -> usize {
        self.0.len()
    }

    /// True if its bytes are UTF-8, and each `%` is the beginning of an escape.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let mut rest = self.0;
        while let Some((first, after)) = rest.split_first() {
            if *first == b'%' && escape(after).is_none() {
                return false;
            }
            rest = after;
        }
        is_utf8(self.clone())
    }
}

impl Iterator for DecodedText<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, after) = self.0.split_first()?;
        let (byte, rest) = match escape(after) {
            Some(decoded) if *first == b'%' => decoded,
            _ => (*first, after),
        };
        self.0 = rest;
        Some(byte)
    }
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    let [high, low] = *digits else { return None };
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}

/// True if the bytes are UTF-8. They are looked at one character at a time.
fn is_utf8(mut bytes: impl Iterator<Item = u8>) -> bool {
    while let Some(first) = bytes.next() {
        let size = match first {
            0..0x80 => continue,
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return false,
        };
        let mut character = [first, 0, 0, 0];
        for slot in character.iter_mut().take(size).skip(1) {
            let Some(byte) = bytes.next() else { return false };
            *slot = byte;
        }
        if core::str::from_utf8(character.get(..size).unwrap_or_default()).is_err() {
            return false;
        }
    }
    true
}
