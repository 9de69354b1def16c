//! Reads the user's tags, cut to what fits into a request, and to what Datadog takes.
//!
//! In: `DD_TAGS`, `DD_ENV`, `DD_SERVICE` and `DD_VERSION`. Out: texts that keep to their limits in
//! core's `sizes.rs`.

use oom_witness_core::format::datadog::user_tags;
use oom_witness_core::format::escaped_size;
use oom_witness_core::sizes::{SOURCE_TAGS_MAX, SOURCE_TAGS_SIZE, SOURCE_TEXT_MAX};

use crate::variable::{Variables, Warning, text_or_empty};

/// What the user adds to each metric.
#[derive(Debug, Default)]
pub(crate) struct DatadogTags {
    /// Such as `key:value`, with commas between them.
    pub(crate) tags: String,
    pub(crate) env: String,
    pub(crate) service: String,
    pub(crate) version: String,
}

/// Reads the four variables. Warns of what was cut only if the sink `is_used`.
pub(super) fn read(
    get: Variables<'_>,
    is_used: bool,
    own: &mut DatadogTags,
    warn: &mut dyn FnMut(Warning),
) {
    let name = "DD_TAGS";
    own.tags = text_or_empty(get, name, warn);
    let count = fit_tags(&mut own.tags);
    if count > 0 && is_used {
        warn(Warning::TagsLeftOut { name, count });
    }
    for (name, tag) in [
        ("DD_ENV", &mut own.env),
        ("DD_SERVICE", &mut own.service),
        ("DD_VERSION", &mut own.version),
    ] {
        *tag = text_or_empty(get, name, warn);
        if cut(tag, SOURCE_TEXT_MAX) && is_used {
            warn(Warning::Cut { name, max: SOURCE_TEXT_MAX });
        }
    }
}

/// Cuts `text` to `max` bytes, counted with their escapes. True if it was longer.
fn cut(text: &mut String, max: usize) -> bool {
    let mut size = 0;
    let is_over = |(at, character): (usize, char)| {
        size += escaped_size(character.encode_utf8(&mut [0; 4]));
        (size > max).then_some(at)
    };
    let Some(end) = text.char_indices().find_map(is_over) else { return false };
    text.truncate(end);
    true
}

/// Removes whole tags that do not fit from `tags`. Returns how many.
fn fit_tags(tags: &mut String) -> usize {
    let left_out = user_tags(tags).count() - user_tags(tags).filter(fits()).count();
    if left_out > 0 {
        let mut fitting = String::with_capacity(SOURCE_TAGS_SIZE);
        for tag in user_tags(tags).filter(fits()) {
            if !fitting.is_empty() {
                fitting.push(',');
            }
            fitting.push_str(tag);
        }
        *tags = fitting;
    }
    left_out
}

/// A filter: whether the next tag fits beside the earlier tags that fit.
fn fits() -> impl FnMut(&&str) -> bool {
    /// Quotes and a comma.
    const EXTRA: usize = 3;
    let (mut size, mut count) = (0, 0);
    move |tag| {
        let with_it = size + escaped_size(tag) + EXTRA;
        let fits = with_it <= SOURCE_TAGS_SIZE && count < SOURCE_TAGS_MAX;
        if fits {
            (size, count) = (with_it, count + 1);
        }
        fits
    }
}
