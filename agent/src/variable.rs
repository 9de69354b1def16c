//! One environment variable: its text, or why its value was not used.

use std::ffi::OsString;

/// A variable whose value was not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ignored {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static str,
}

/// A variable's text without the blanks around it; empty if there is none, or none in UTF-8.
pub(crate) fn text(get: &dyn Fn(&str) -> Option<OsString>, name: &str) -> String {
    let value = get(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
    let trimmed = value.trim();
    if trimmed.len() == value.len() { value } else { trimmed.to_owned() }
}
