//! A command line as one string, and its words.

/// Words between blanks; a quoted one may hold blanks.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in text.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_string());
        } else {
            words.extend(part.split_whitespace().map(str::to_string));
        }
    }
    words
}

pub(super) fn shown(words: &[String]) -> String {
    let quoted = |word: &String| {
        if word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_may_hold_blanks() {
        assert_eq!(words("a --line 'b  c' d"), ["a", "--line", "b  c", "d"]);
        assert_eq!(shown(&words("a --line 'b c'")), "a --line 'b c'");
    }
}
