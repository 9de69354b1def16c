//! One environment variable: its text, or why its value is not used. Which variables there are is
//! in `config.rs` and in the files of the sinks.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};

#[cfg(feature = "network")]
use oom_witness_core::sizes::{SOURCE_TAGS_MAX, SOURCE_TAGS_SIZE};

/// A function from a variable's name to its value.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable whose value is not used, and what it takes instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidVariable {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static str,
}

/// What the user should know about a variable. It never shows a value, which may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Warning {
    /// The value is not used. The text says what happens instead.
    NotUsed(InvalidVariable, &'static str),
    /// A list names something that cannot be used. It takes any of these. The text says what
    /// happens instead.
    NotListed { name: &'static str, takes: &'static [&'static str], instead: &'static str },
    /// Only the first `max` bytes of the value are used, counted with their escapes.
    #[cfg(feature = "network")]
    Cut { name: &'static str, max: usize },
    /// `count` attributes do not fit into a request.
    #[cfg(feature = "network")]
    AttributesLeftOut { name: &'static str, count: usize },
    /// `count` tags do not fit into a request.
    #[cfg(feature = "network")]
    TagsLeftOut { name: &'static str, count: usize },
    /// The value is used, with a consequence that the user may not want.
    #[cfg(feature = "network")]
    Used { name: &'static str, but: &'static str },
}

impl Display for Warning {
    #[cold]
    #[inline(never)]
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUsed(InvalidVariable { name, takes }, instead) => {
                write!(out, "{name} is not used: it takes {takes}; {instead}")
            }
            Self::NotListed { name, takes, instead } => {
                write!(out, "{name} is not used: it takes a list of")?;
                for (index, word) in takes.iter().enumerate() {
                    write!(out, "{}{word}", if index > 0 { ", " } else { " " })?;
                }
                write!(out, "; {instead}")
            }
            #[cfg(feature = "network")]
            Self::Cut { name, max } => {
                write!(out, "{name} is too long: only its first {max} bytes are used")
            }
            #[cfg(feature = "network")]
            Self::TagsLeftOut { name, count } => write!(
                out,
                "{name} is too long: {count} of its tags are left out, as there is room for \
                 {SOURCE_TAGS_MAX} tags of {SOURCE_TAGS_SIZE} bytes in all"
            ),
            #[cfg(feature = "network")]
            Self::AttributesLeftOut { name, count } => write!(
                out,
                "{name} is too long: {count} of its attributes are left out, as there is room for \
                 {SOURCE_TAGS_SIZE} bytes"
            ),
            #[cfg(feature = "network")]
            Self::Used { name, but } => write!(out, "{name} {but}"),
        }
    }
}

#[cfg(test)]
impl Warning {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotUsed(InvalidVariable { name, .. }, _) | Self::NotListed { name, .. } => name,
            #[cfg(feature = "network")]
            Self::Cut { name, .. }
            | Self::TagsLeftOut { name, .. }
            | Self::AttributesLeftOut { name, .. }
            | Self::Used { name, .. } => name,
        }
    }
}

/// A variable's text without the blanks around it. Empty if it is not set.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(get: Variables<'_>, name: &'static str) -> Result<String, InvalidVariable> {
    let value = get(name).unwrap_or_default().into_string();
    let value = value.map_err(|_| InvalidVariable { name, takes: "text in UTF-8" })?;
    let trimmed = value.trim();
    Ok(if trimmed.len() == value.len() { value } else { trimmed.to_owned() })
}

/// A variable's text without the blanks around it. Empty if it is not set. Warns if it is not
/// UTF-8, and counts it as not set.
pub(crate) fn text_or_empty(
    get: Variables<'_>,
    name: &'static str,
    warn: &mut dyn FnMut(Warning),
) -> String {
    text(get, name).unwrap_or_else(|invalid| {
        warn(Warning::NotUsed(invalid, NOT_SET));
        String::new()
    })
}

/// What happens to a value that has no default.
pub(crate) const NOT_SET: &str = "it counts as not set";
