//! What the user adds to each metric. Each sink reads it from variables of its own.

/// What the user adds to each metric. A text that no sink has read is empty.
#[derive(Debug, Default)]
pub(crate) struct UserTags {
    /// Tags such as `key:value`, with commas between them.
    pub(crate) list: String,
    pub(crate) env: String,
    pub(crate) service: String,
    pub(crate) version: String,
}
