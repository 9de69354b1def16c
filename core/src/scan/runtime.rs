//! The runtime of an environment, from `runtimeVersion` of `platform.initStart`.
//!
//! `nodejs:20.v22` is `nodejs20.x`, as Lambda's API and `AWS_EXECUTION_ENV` call it.

use crate::sizes::{RUNTIME_SIZE, RUNTIME_VERSION_SIZE};

/// The name of a managed runtime, such as `python3.12`. A container image has none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Runtime {
    bytes: [u8; RUNTIME_SIZE],
    len: u8,
    /// It runs durable functions.
    is_durable: bool,
}

impl Runtime {
    /// No name.
    pub const UNKNOWN: Self = Self { bytes: [0; RUNTIME_SIZE], len: 0, is_durable: false };

    /// Reads a `runtimeVersion`. A family and its version become a name. Words such as `mainline`
    /// and the number after `v` are not part of it. Any other text is [`Runtime::UNKNOWN`].
    ///
    /// | `runtimeVersion` | Name |
    /// |---|---|
    /// | `nodejs:22.mainline.v122` | `nodejs22.x` |
    /// | `python:3.14.DurableFunction.v13` | `python3.14` |
    /// | `java:8.al2.v40` | `java8.al2` |
    /// | `provided:al2023.v70` | `provided.al2023` |
    // Once for each init, so apart from the scanner's own code.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn parse(version: &str) -> Self {
        // A text of this length may have been clipped.
        let name = if version.len() < RUNTIME_VERSION_SIZE { Self::read(version) } else { None };
        name.unwrap_or(Self::UNKNOWN)
    }

    fn read(version: &str) -> Option<Self> {
        let mut parts = version.as_bytes().splitn(2, |byte| *byte == b':');
        let (family, words) = (parts.next()?, parts.next()?);
        let is_node = *family == *b"nodejs";
        let mut name = Self::UNKNOWN;
        // The bytes of the words that belong to the name, with the point after each.
        let (mut length, mut is_over) = (0_usize, false);
        for word in words.split(|byte| *byte == b'.') {
            name.is_durable |= *word == *b"DurableFunction";
            is_over |= !matches!(word, [b'0'..=b'9', ..] | [b'a', b'l', ..]);
            if !is_over {
                length = length.saturating_add(word.len()).saturating_add(1);
                is_over = is_node;
            }
        }
        name.push(family)?;
        if *family == *b"provided" {
            name.push(b".")?;
        }
        name.push(words.get(..length.checked_sub(1)?)?)?;
        if is_node {
            name.push(b".x")?;
        }
        Some(name)
    }

    /// Appends lower-case letters, digits and points. `None` for other text, and without room.
    #[inline(never)]
    fn push(&mut self, text: &[u8]) -> Option<()> {
        for byte in text {
            if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.') {
                return None;
            }
            *self.bytes.get_mut(usize::from(self.len))? = *byte;
            self.len = self.len.saturating_add(1);
        }
        Some(())
    }

    /// The name, or an empty text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// True if the name is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.len > 0
    }

    /// True if it runs durable functions.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// The bytes that survive a restart.
    pub(crate) fn to_bytes(self) -> [u8; RUNTIME_SIZE] {
        self.bytes
    }

    /// The runtime that had these bytes.
    pub(crate) fn from_bytes(bytes: [u8; RUNTIME_SIZE], is_durable: bool) -> Self {
        let mut name = Self { is_durable, ..Self::UNKNOWN };
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.push(text).is_some() { name } else { Self::UNKNOWN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_has_the_name_that_lambda_gives_it() {
        for (version, name) in [
            ("nodejs:20.v22", "nodejs20.x"),
            ("nodejs:22.mainline.v122", "nodejs22.x"),
            ("nodejs:18", "nodejs18.x"),
            ("nodejs:22.DurableFunction.v36", "nodejs22.x"),
            ("python:3.12.v38", "python3.12"),
            ("python:3.14.DurableFunction.v13", "python3.14"),
            ("java:8.al2.v40", "java8.al2"),
            ("java:21.v24", "java21"),
            ("dotnet:8.v20", "dotnet8"),
            ("ruby:3.3.v10", "ruby3.3"),
            ("provided:al2.v70", "provided.al2"),
            ("provided:al2023.v70", "provided.al2023"),
        ] {
            let runtime = Runtime::parse(version);
            assert_eq!(runtime.as_str(), name, "{version}");
            assert_eq!(runtime.is_durable(), version.contains("Durable"), "{version}");
            assert_eq!(Runtime::from_bytes(runtime.to_bytes(), runtime.is_durable()), runtime);
        }
    }

    #[test]
    fn other_texts_name_no_runtime() {
        for version in [
            "",
            "nodejs",
            "nodejs:",
            "nodejs:v20",
            "nodejs-14.v3",
            "Python:3.12.v1",
            "python:3.12\".v1",
            "python:3.1234567890123456789.v1",
            "python:3.12.a-text-that-fills-the-whole-of-its-buffer",
        ] {
            let runtime = Runtime::parse(version);
            assert_eq!((runtime.as_str(), runtime.is_known()), ("", false), "{version}");
        }
    }
}
