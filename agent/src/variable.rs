//! One environment variable: its text, or why its value is not used as it is.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};

#[cfg(feature = "datadog")]
use oom_witness_core::limits::{SOURCE_TAGS_MAX, SOURCE_TAGS_SIZE};

/// A variable whose value was not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ignored {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static str,
}

/// What the user should know about a variable. No value is ever shown, as it may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Warning {
    /// The value is not used; what happens instead.
    NotUsed(Ignored, &'static str),
    /// Only the beginning of the value is used: so many bytes, escaped.
    #[cfg(feature = "datadog")]
    Cut { name: &'static str, max: usize },
    /// So many tags do not fit into a request.
    #[cfg(feature = "datadog")]
    TagsLeftOut { name: &'static str, count: usize },
    /// The value is used, with a consequence that the user may not want.
    #[cfg(feature = "datadog")]
    Used { name: &'static str, but: &'static str },
}

impl Display for Warning {
    #[cold]
    #[inline(never)]
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUsed(Ignored { name, takes }, instead) => {
                write!(out, "{name} is not used: it takes {takes}; {instead}")
            }
            #[cfg(feature = "datadog")]
            Self::Cut { name, max } => {
                write!(out, "{name} is too long: only its first {max} bytes are used")
            }
            #[cfg(feature = "datadog")]
            Self::TagsLeftOut { name, count } => write!(
                out,
                "{name} is too long: {count} of its tags are left out, as there is room for \
                 {SOURCE_TAGS_MAX} tags of {SOURCE_TAGS_SIZE} bytes in all"
            ),
            #[cfg(feature = "datadog")]
            Self::Used { name, but } => write!(out, "{name} {but}"),
        }
    }
}

#[cfg(test)]
impl Warning {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotUsed(Ignored { name, .. }, _) => name,
            #[cfg(feature = "datadog")]
            Self::Cut { name, .. } | Self::TagsLeftOut { name, .. } | Self::Used { name, .. } => {
                name
            }
        }
    }
}

/// A variable's text without the blanks around it; empty if it is not set.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(
    get: &dyn Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<String, Ignored> {
    let value = get(name).unwrap_or_default().into_string();
    let value = value.map_err(|_| Ignored { name, takes: "text in UTF-8" })?;
    let trimmed = value.trim();
    Ok(if trimmed.len() == value.len() { value } else { trimmed.to_owned() })
}
