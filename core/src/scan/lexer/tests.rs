use super::*;
extern crate std;
use std::format;
use std::string::String;
use std::vec::Vec;

/// The tokens as text, the same whatever the pieces; `!` for bytes that are no JSON.
fn tokens(json: &str) -> String {
    let run = |size: usize| {
        let mut lexer = Lexer::new();
        let mut tokens: Vec<String> = Vec::new();
        for piece in json.as_bytes().chunks(size) {
            let mut rest = piece;
            loop {
                match lexer.next(&mut rest) {
                    Ok(None) => break,
                    Ok(Some(token)) => add_text(&mut tokens, token),
                    Err(SyntaxError) => {
                        tokens.push("!".into());
                        return tokens.join(" ");
                    }
                }
            }
        }
        tokens.join(" ")
    };
    let whole = run(usize::MAX);
    for size in [1, 2, 3] {
        assert_eq!(run(size), whole, "pieces of {size}: {json}");
    }
    whole
}

/// Runs of text are joined, so that pieces do not show.
fn add_text(tokens: &mut Vec<String>, token: Token<'_>) {
    let text = match token {
        Token::Text(run) => String::from_utf8(run.into()).unwrap(),
        Token::Unit(unit) => format!("\\{unit:x}"),
        Token::Number(value) => format!("{value:?}"),
        other => return tokens.push(format!("{other:?}")),
    };
    let in_text = matches!(token, Token::Text(_) | Token::Unit(_));
    match tokens.last_mut().filter(|last| in_text && last.starts_with('\'')) {
        Some(last) => last.push_str(&text),
        None if in_text && text.is_empty() => {}
        None if in_text => tokens.push(format!("'{text}")),
        None => tokens.push(text),
    }
}

#[test]
fn each_value_gives_its_tokens() {
    for (json, expected) in [
        (r#""a""#, "StringStart 'a StringEnd"),
        (r#""""#, "StringStart StringEnd"),
        (r#""a\n\u00e9\/b""#, r"StringStart 'a\a\e9\2fb StringEnd"),
        (r#"[true,false , null]"#, "Open Literal Literal Literal Close"),
        (
            r#"{"k":"v","l":{}}"#,
            "Open KeyStart 'k KeyEnd StringStart 'v StringEnd KeyStart 'l KeyEnd Open Close Close",
        ),
        ("[12,-3,1.5e1,0.0]", "Open Some(12) None Some(15) Some(0) Close"),
        (" [ ] \n", "Open Close"),
    ] {
        assert_eq!(tokens(json), expected, "{json}");
    }
}

#[test]
fn invalid_json_ends_at_its_first_wrong_byte() {
    for (json, expected) in [
        ("[1,]", "Open Some(1) !"),
        ("[1 2]", "Open Some(1) !"),
        ("{1}", "Open !"),
        (r#"{"a" 1}"#, "Open KeyStart 'a KeyEnd !"),
        (r#"{"a":1]"#, "Open KeyStart 'a KeyEnd Some(1) !"),
        ("[1}", "Open Some(1) !"),
        ("[]]", "Open Close !"),
        ("nul1", "!"),
        (r#""\x""#, "StringStart !"),
        (r#""\u12g4""#, "StringStart !"),
        ("?", "!"),
    ] {
        assert_eq!(tokens(json), expected, "{json}");
    }
}

#[test]
fn nesting_that_is_too_deep_is_counted_and_skipped() {
    let depth = 70;
    let json = format!("{}\"]}}\\\"\"{}", "[".repeat(depth), "]".repeat(depth));
    let expected = format!("{} {}", "Open ".repeat(64).trim(), "Close ".repeat(64).trim());
    assert_eq!(tokens(&json), expected);
}

#[test]
fn numbers_are_whole_and_never_overflow() {
    for (json, expected) in [
        ("0", Some(0)),
        ("-0", Some(0)),
        ("-0.5", Some(0)),
        ("-1", None),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", Some(18_446_744_073_709_551_610)),
        ("123456789012345678901234567890e-20", Some(1_234_567_890)),
        ("1e19", Some(10_000_000_000_000_000_000)),
        ("1e20", Some(u64::MAX)),
        ("0e999999999999", Some(0)),
        ("1e-999999999999", Some(0)),
        ("1e999999999999", Some(u64::MAX)),
    ] {
        assert_eq!(tokens(&format!("[{json}]")), format!("Open {expected:?} Close"), "{json}");
    }
}
