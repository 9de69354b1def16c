//! Cuts the texts of tags to what fits into a request, and to what Datadog takes.

use oom_witness_core::format::escaped_size;
use oom_witness_core::{
    format::datadog::user_tags,
    limits::{SOURCE_TAGS_MAX, SOURCE_TAGS_SIZE},
};

/// Cuts `text` to `max` bytes, counted with their escapes. True if it was longer.
pub(super) fn cut(text: &mut String, max: usize) -> bool {
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
pub(super) fn fit_tags(tags: &mut String) -> usize {
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

/// Says of each tag in turn whether it fits together with the earlier ones that fit.
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
