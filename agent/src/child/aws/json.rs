//! Finds one text in a JSON object, and copies nothing else out of it.
//!
//! In: the bytes of an answer, and the names that lead to the text. Out: the text, which is wiped
//! when it is dropped.

use zeroize::Zeroizing;

/// Objects and arrays that may lie in each other. AWS's answers have two.
const DEPTH_MAX: u8 = 16;

/// The text that the names in `path` lead to, from object to object. `None` if there is none, or if
/// something else than JSON comes before it.
pub(in crate::child) fn text_at(json: &[u8], path: &[&str]) -> Option<Zeroizing<String>> {
    Reader { rest: json }.find(path)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn find(&mut self, path: &[&str]) -> Option<Zeroizing<String>> {
        let (wanted, path) = path.split_first()?;
        self.expect(b'{')?;
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            if name.as_str() == *wanted {
                return if path.is_empty() { self.text() } else { self.find(path) };
            }
            self.skip_value(DEPTH_MAX)?;
            self.expect(b',')?;
        }
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.next())?.map(|_| ())
    }

    fn skip_value(&mut self, depth: u8) -> Option<()> {
        match self.peek()? {
            b'"' => self.raw_text().map(|_| ()),
            b'{' => self.skip_members(b'}', depth.checked_sub(1)?),
            b'[' => self.skip_members(b']', depth.checked_sub(1)?),
            _ => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let length = self.rest.iter().take_while(|byte| is_word(byte)).count();
                self.rest = self.rest.get(length..)?;
                (length > 0).then_some(())
            }
        }
    }

    fn skip_members(&mut self, end: u8, depth: u8) -> Option<()> {
        self.next()?;
        if self.peek()? == end {
            return self.next().map(|_| ());
        }
        loop {
            if end == b'}' {
                self.peek().filter(|byte| *byte == b'"')?;
                self.raw_text()?;
                self.expect(b':')?;
            }
            self.skip_value(depth)?;
            match self.peek()? {
                b',' => self.next()?,
                byte if byte == end => return self.next().map(|_| ()),
                _ => return None,
            };
        }
    }

    /// The bytes between the quotes of the next text, with their escapes.
    fn raw_text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let mut is_escaped = false;
        let length = self.rest.iter().position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        })?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.get(1..)?;
        Some(text)
    }

    fn text(&mut self) -> Option<Zeroizing<String>> {
        let raw = std::str::from_utf8(self.raw_text()?).ok()?;
        // A text is never longer than its escapes, so no copy of a part stays behind.
        let mut text = Zeroizing::new(String::with_capacity(raw.len()));
        let mut rest = raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            text.push_str(plain);
            let (char, after) = unescape(escape)?;
            text.push(char);
            rest = after;
        }
        text.push_str(rest);
        Some(text)
    }
}

/// The character that an escape stands for, and the text after it. The backslash is gone.
fn unescape(escape: &str) -> Option<(char, &str)> {
    let mut chars = escape.chars();
    let char = match chars.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        same @ ('"' | '\\' | '/') => same,
        'u' => return unescape_hex(chars.as_str()),
        _ => return None,
    };
    Some((char, chars.as_str()))
}

/// Four hexadecimal digits, or twice four for one of the characters that need two.
fn unescape_hex(text: &str) -> Option<(char, &str)> {
    let (high, rest) = hex_digits(text)?;
    if let Some(char) = char::from_u32(high) {
        return Some((char, rest));
    }
    let (low, rest) = hex_digits(rest.strip_prefix("\\u")?)?;
    let pair = [u16::try_from(high).ok()?, u16::try_from(low).ok()?];
    let char = char::decode_utf16(pair).next()?.ok()?;
    Some((char, rest))
}

fn hex_digits(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let number = digits.chars().try_fold(0, |sum, digit| Some(sum << 4 | digit.to_digit(16)?))?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, path: &[&str], expected: Option<&str>) {
        let found = text_at(json.as_bytes(), path);
        assert_eq!(found.as_ref().map(|text| text.as_str()), expected, "{json}");
    }

    #[test]
    fn a_text_is_found_among_other_values() {
        let json = r#" { "ARN" : "a:\"b\\" , "n":[1,{"x":-2.5e+3},[],"]"], "t":true,"o":{},
            "Parameter": {"Version":1, "Value" : "k\u00e9\n\ud83d\ude00\/"} }"#;
        check(json, &["ARN"], Some("a:\"b\\"));
        check(json, &["Parameter", "Value"], Some("ké\n😀/"));
        for absent in [&["Value"][..], &["n"], &["t"], &["Parameter"], &["ARN", "x"], &["o", "x"]] {
            check(json, absent, None);
        }
    }

    #[test]
    fn something_else_than_json_holds_no_text() {
        for garbage in [
            "",
            "{",
            "{}",
            "[]",
            "<html>",
            r#"{"a""b"}"#,
            r#"{"a":}"#,
            r#"{"a":"b"#,
            r#"{"a":"b","#,
            r#"{"a":"b\"#,
            r#"{"k":"\x"}"#,
            r#"{"k":"\u12"}"#,
            r#"{"k":"\ud800"}"#,
            r#"{"k":"\ud800\u0041"}"#,
            r#"{"k":"\u+123"}"#,
            r#"{"a":[1 2],"k":"v"}"#,
            r#"{"a":[1},"k":"v"}"#,
            r#"{"a":{1:2},"k":"v"}"#,
        ] {
            check(garbage, &["k"], None);
        }
        assert!(text_at(b"{\"k\":\"\xff\"}", &["k"]).is_none());
    }

    /// Each recursion takes stack.
    #[test]
    fn deep_json_ends_in_time() {
        let nested = |depth: usize| {
            [r#"{"a":"#, &"[".repeat(depth), &"]".repeat(depth), r#","k":"v"}"#].concat()
        };
        check(&nested(16), &["k"], Some("v"));
        check(&nested(17), &["k"], None);
        check(&nested(100_000), &["k"], None);
    }

    /// Whatever one byte becomes, the reader ends without a panic.
    #[test]
    fn any_changed_byte_is_text_or_nothing() {
        let json = br#"{"a":[{"b":"\u00e9"},1],"k":"\ud83d\ude00\n"}"#;
        for at in 0..json.len() {
            for byte in 0..=255 {
                let mut changed = *json;
                changed[at] = byte;
                let _ = text_at(&changed, &["k"]);
                let _ = text_at(&changed[..at], &["k"]);
            }
        }
    }
}
