//! Fetches the key that a sink's variables only name, and makes headers of it.
//!
//! In: where the key is. Out: headers for the request to the sink, or which call failed and why.
//! A failure means that the sink has nothing yet. No secret is ever in a text that is logged.

use std::time::{Duration, Instant};

use ureq::tls::RootCerts;
use zeroize::{Zeroize, Zeroizing};

use super::aws::http::Http;
use super::aws::{CallError, Client, Refusal, json};
use crate::delivery::key_source::{Headers, KeySource, KeyStore};
use crate::variable::{Variables, text};

/// The key has to be there after this time. The agent gives a child that fetches one two seconds,
/// so the request to the sink has as much left as without a key.
const KEY_TIMEOUT: Duration = Duration::from_millis(1100);

/// Headers whose values are wiped when they are dropped.
pub(super) struct SecretHeaders(pub(super) Headers);

impl Drop for SecretHeaders {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            value.zeroize();
        }
    }
}

/// The headers that the key makes.
///
/// # Errors
/// Which call failed, and why.
pub(super) fn fetch(
    source: &KeySource,
    get: Variables<'_>,
    roots: RootCerts,
) -> Result<SecretHeaders, String> {
    let http = Http { roots, until: Instant::now() + KEY_TIMEOUT };
    let client = Client::new(get, &http)?;
    let default = text(get, "AWS_REGION").unwrap_or_default();
    let region = source.region().unwrap_or(&default);
    if region.is_empty() || !region.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    {
        return Err("AWS_REGION has to be a region".to_owned());
    }
    let secret = match source.store {
        KeyStore::SecretsManager => secret(&client, source, region),
        KeyStore::Ssm => parameter(&client, source, region),
        KeyStore::Kms => plaintext(&client, source, region, get),
    }?;
    let key = key_in(secret, source.form.names);
    let headers = key.and_then(|key| (source.form.headers)(key.trim())).map(SecretHeaders);
    headers.ok_or_else(|| {
        let names = match source.form.names {
            [] => String::new(),
            names => [", alone or in JSON as ", &names.join(", ")].concat(),
        };
        format!("{} leads to a text that is not {}{names}", source.variable, source.form.takes)
    })
}

fn secret(client: &Client<'_>, source: &KeySource, region: &str) -> Result<Secret, String> {
    let arguments = format!(r#"{{"SecretId":"{}"}}"#, source.place);
    let answer = call(client, source, region, &arguments)?;
    if json::text_at(&answer, &["SecretBinary"]).is_some() {
        return Err(format!("the secret of {} is binary: it has to be text", source.variable));
    }
    json::text_at(&answer, &["SecretString"]).ok_or_else(|| no_text(source))
}

fn parameter(client: &Client<'_>, source: &KeySource, region: &str) -> Result<Secret, String> {
    let arguments = format!(r#"{{"Name":"{}","WithDecryption":true}}"#, source.place);
    let answer = call(client, source, region, &arguments)?;
    json::text_at(&answer, &["Parameter", "Value"]).ok_or_else(|| no_text(source))
}

/// AWS's command line encrypts a text alone, and its console together with the function's name. As
/// Datadog's extension, this tries the former first.
fn plaintext(
    client: &Client<'_>,
    source: &KeySource,
    region: &str,
    get: Variables<'_>,
) -> Result<Secret, String> {
    let blob = format!(r#""CiphertextBlob":"{}""#, source.place);
    let alone = client.call(source.store, region, &format!("{{{blob}}}"));
    let answer = match (alone, function_name(get)) {
        (Err(CallError::Refused(_)), Some(name)) => {
            let context = format!(r#""EncryptionContext":{{"LambdaFunctionName":"{name}"}}"#);
            client.call(source.store, region, &format!("{{{blob},{context}}}"))
        }
        (answer, _) => answer,
    };
    let answer = answer.map_err(|error| describe(source, &error))?;
    let encoded = json::text_at(&answer, &["Plaintext"]).ok_or_else(|| no_text(source))?;
    let bytes = decode_base64(&encoded).ok_or_else(|| no_text(source))?;
    let plain = std::str::from_utf8(&bytes).map_err(|_| no_text(source))?;
    Ok(Zeroizing::new(plain.to_owned()))
}

/// The bytes that base64 digits stand for. `None` for anything else.
fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    // With room for all of it, no copy of a part stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            let [.., byte] = (bits >> count).to_be_bytes();
            bytes.push(byte);
        }
    }
    Some(bytes)
}

/// The function's name, if it needs no escapes in JSON.
fn function_name(get: Variables<'_>) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let name = text(get, "AWS_LAMBDA_FUNCTION_NAME").ok();
    name.filter(|name| !name.is_empty() && name.bytes().all(is_plain))
}

/// A text that is wiped when it is dropped.
type Secret = Zeroizing<String>;

/// The key in a secret: the text itself, or the member of a JSON object that has one of `names`.
fn key_in(secret: Secret, names: &[&str]) -> Option<Secret> {
    if names.is_empty() || !secret.trim_start().starts_with('{') {
        return Some(secret);
    }
    names.iter().find_map(|name| json::text_at(secret.as_bytes(), &[name]))
}

fn call(
    client: &Client<'_>,
    source: &KeySource,
    region: &str,
    arguments: &str,
) -> Result<Zeroizing<Vec<u8>>, String> {
    client.call(source.store, region, arguments).map_err(|error| describe(source, &error))
}

fn no_text(source: &KeySource) -> String {
    format!("{} answered with something else than a text", name_of(source.store))
}

/// Such as `ssm GetParameter`.
fn name_of(store: KeyStore) -> String {
    [store.service(), " ", store.action()].concat()
}

/// Why a call failed, and which permission is missing.
fn describe(source: &KeySource, error: &CallError) -> String {
    let KeySource { variable, store, place, .. } = source;
    let name = name_of(*store);
    let Refusal { status, code, is_about_kms } = match error {
        CallError::Failed(error) => return format!("{name}: {error}"),
        CallError::Refused(refusal) => refusal,
    };
    let blank = if code.is_empty() { "" } else { " " };
    let answer = format!("{name} answered {status}{blank}{code}");
    let needs = match (code.as_str(), store) {
        ("AccessDeniedException" | "AccessDenied", KeyStore::Kms) => {
            format!(": the function's role needs kms:Decrypt on the key that encrypted {variable}")
        }
        ("AccessDeniedException" | "AccessDenied", _) if *is_about_kms => {
            format!(": the function's role needs kms:Decrypt on the key that encrypts {place}")
        }
        ("AccessDeniedException" | "AccessDenied", _) => {
            let (service, action) = (store.service(), store.action());
            format!(": the function's role needs {service}:{action} on {place}")
        }
        _ => format!(", asked by {variable}"),
    };
    answer + &needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::key_source::KeyForm;

    const NAMES: &[&str] = &["dd_api_key", "apiKey"];

    #[test]
    fn a_key_is_the_text_or_a_member_of_it() {
        for (secret, expected) in [
            ("k", Some("k")),
            ("", Some("")),
            (r#"{"apiKey":"k"}"#, Some("k")),
            (r#" {"x":1,"apiKey":"a","dd_api_key":"k"}"#, Some("k")),
            (r#"{"other":"k"}"#, None),
            ("{", None),
        ] {
            let key = |names| {
                let key = key_in(Zeroizing::new(secret.to_owned()), names)?;
                Some(key.as_str().to_owned())
            };
            assert_eq!(key(NAMES).as_deref(), expected, "{secret}");
            assert_eq!(key(&[]).as_deref(), Some(secret));
        }
    }

    /// The texts of RFC 4648, and what KMS never answers.
    #[test]
    fn base64_is_decoded() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Zm9vYmE=", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("fn5+Pz8/", Some("~~~???")),
            ("Zg=", None),
            ("Z===", None),
            ("Zm9-", None),
            ("Z=m9", None),
            ("Zm9 ", None),
            ("Zmé=", None),
        ] {
            let bytes = decode_base64(text);
            assert_eq!(bytes.as_ref().map(|bytes| bytes.as_slice()), expected.map(str::as_bytes));
        }
    }

    #[track_caller]
    fn check(store: KeyStore, code: &str, is_about_kms: bool, expected: &str) {
        let form = KeyForm { names: &[], takes: "", headers: |_| None };
        let place = "arn:x".to_owned();
        let source = KeySource { variable: "VARIABLE", store, place, form };
        let refusal = Refusal { status: 400, code: code.to_owned(), is_about_kms };
        assert_eq!(describe(&source, &CallError::Refused(refusal)), expected);
    }

    #[test]
    fn a_missing_permission_is_named() {
        check(
            KeyStore::SecretsManager,
            "AccessDeniedException",
            false,
            "secretsmanager GetSecretValue answered 400 AccessDeniedException: the function's role \
             needs secretsmanager:GetSecretValue on arn:x",
        );
        check(
            KeyStore::Ssm,
            "AccessDeniedException",
            true,
            "ssm GetParameter answered 400 AccessDeniedException: the function's role needs \
             kms:Decrypt on the key that encrypts arn:x",
        );
        check(
            KeyStore::Kms,
            "AccessDeniedException",
            true,
            "kms Decrypt answered 400 AccessDeniedException: the function's role needs kms:Decrypt \
             on the key that encrypted VARIABLE",
        );
        let other = "ssm GetParameter answered 400 ParameterNotFound, asked by VARIABLE";
        check(KeyStore::Ssm, "ParameterNotFound", false, other);
        check(KeyStore::Ssm, "", false, "ssm GetParameter answered 400, asked by VARIABLE");
    }
}
