//! `key=value` pairs with escapes, as OpenTelemetry's variables have them.

use oom_witness_core::format::pairs::{DecodedText, are_pairs, encoded_pairs};

fn decoded(text: &str) -> Vec<(String, String)> {
    let text_of = |part: DecodedText<'_>| String::from_utf8(part.collect()).expect("UTF-8");
    encoded_pairs(text).map(|(key, value)| (text_of(key), text_of(value))).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}

#[test]
fn escapes_stand_for_bytes() {
    let text = "a=1, team = r%C3%A9sum%c3%a9 ,x=p%3Dq%2Cr%25,y=b=c,z=";
    assert!(are_pairs(text));
    assert_eq!(
        decoded(text),
        [
            pair("a", "1"),
            pair("team", "résumé"),
            pair("x", "p=q,r%"),
            pair("y", "b=c"),
            pair("z", ""),
        ]
    );
}

#[test]
fn what_cannot_be_decoded_is_no_list_of_pairs() {
    assert!(are_pairs("") && are_pairs("  "));
    for text in ["a", "=b", "a=1,", "a=%", "a=%4", "a=%zz", "a=%ff", "a=%c3", "a=%ed%a0%80"] {
        assert!(!are_pairs(text), "{text}");
    }
}

#[test]
fn characters_of_each_length_are_text() {
    for text in ["a", "é", "€", "𝄞"] {
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert!(are_pairs(&format!("k={escaped}")) && are_pairs(&format!("k={text}")));
        assert_eq!(decoded(&format!("k={escaped}")), [pair("k", text)]);
    }
}
