//! One environment variable: its text, or why its value is not used, and its row in the table of
//! variables. The rows are in `config.rs` and in the files of the sinks.

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
    /// It asks for a sink that this build does not have.
    #[cfg(not(all(feature = "datadog", feature = "otlp")))]
    OtherBuild { name: &'static str },
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
            #[cfg(not(all(feature = "datadog", feature = "otlp")))]
            Self::OtherBuild { name } => {
                write!(out, "{name} is not used: this build does not have its sink")
            }
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
            #[cfg(not(all(feature = "datadog", feature = "otlp")))]
            Self::OtherBuild { name } => name,
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

/// Variables of one purpose, for `--help` and `--check`.
pub(crate) struct VariableRow {
    pub(crate) names: &'static [&'static str],
    /// What their values may show of themselves.
    pub(crate) shows: Shows,
    /// One sentence or less.
    pub(crate) help: &'static str,
}

/// What `--check` may show of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shows {
    /// All of it.
    All,
    /// An address, without the name and password in it.
    #[cfg_attr(not(feature = "network"), allow(dead_code, reason = "there is no address"))]
    Address,
    /// Its length alone: it is a secret.
    #[cfg_attr(not(feature = "network"), allow(dead_code, reason = "there is no secret"))]
    Length,
}

/// Rows of the table of variables. Their names are texts of this macro alone, so that a test can
/// tell them from the names that the code reads.
macro_rules! variables {
    ($([$($name:literal),+] $shows:ident $help:literal,)*) => {
        &[$(
            $crate::variable::VariableRow {
                names: &[$($name),+],
                shows: $crate::variable::Shows::$shows,
                help: $help,
            }
        ),*]
    };
}
pub(crate) use variables;

impl Display for VariableRow {
    /// One or more lines: the names on the left, what they are for on the right.
    #[cold]
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut column = 0;
        let last = self.names.len().saturating_sub(1);
        for (index, name) in self.names.iter().enumerate() {
            word(out, &mut column, NAMES_COLUMN, name)?;
            if index < last {
                out.write_str(",")?;
                column += 1;
            }
        }
        if column >= HELP_COLUMN {
            out.write_str("\n")?;
            column = 0;
        }
        write!(out, "{:1$}", "", HELP_COLUMN - 1 - column)?;
        column = HELP_COLUMN - 1;
        for text in self.help.split(' ') {
            word(out, &mut column, HELP_COLUMN, text)?;
        }
        out.write_str("\n")
    }
}

/// Writes a word after those before it, or at `indent` of the next line if there is no room.
fn word(out: &mut Formatter<'_>, column: &mut usize, indent: usize, word: &str) -> fmt::Result {
    if *column > 0 && *column + 1 + word.len() <= COLUMNS {
        write!(out, " {word}")?;
        *column += 1 + word.len();
        return Ok(());
    }
    if *column > 0 {
        out.write_str("\n")?;
    }
    write!(out, "{:indent$}{word}", "")?;
    *column = indent + word.len();
    Ok(())
}

const NAMES_COLUMN: usize = 4;
const HELP_COLUMN: usize = 30;
const COLUMNS: usize = 96;
