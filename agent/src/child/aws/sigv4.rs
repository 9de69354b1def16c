//! AWS's Signature Version 4, for the one kind of request that the child makes: `POST /` without a
//! query.
//!
//! In: credentials, where and when the signature counts, and the headers and the body that it
//! covers. Out: the value of the `Authorization` header. AWS describes it in
//! [its user guide](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use ring::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use super::credentials::Credentials;

/// Where and when a signature counts.
pub(super) struct Scope<'a> {
    /// The time as [`timestamp`] writes it.
    pub(super) timestamp: &'a str,
    pub(super) region: &'a str,
    /// The service's name in signatures, such as `kms`.
    pub(super) service: &'a str,
}

/// The value of the `Authorization` header. `headers` have names in small letters, in alphabetical
/// order, and values without blanks around them.
pub(super) fn authorization(
    credentials: &Credentials,
    scope: &Scope<'_>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let day = scope.timestamp.get(..8).unwrap_or_default();
    let place = [day, scope.region, scope.service, END].join("/");
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let request = canonical_request(headers, &names, body);
    let hash = hex(digest(&SHA256, request.as_bytes()).as_ref());
    let to_sign = [ALGORITHM, scope.timestamp, &place, &hash].join("\n");
    let key = signing_key(&credentials.secret_key, day, scope);
    let signature = hex(mac(key.as_ref(), to_sign.as_bytes()).as_ref());
    let id = &credentials.key_id;
    format!("{ALGORITHM} Credential={id}/{place}, SignedHeaders={names}, Signature={signature}")
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const END: &str = "aws4_request";

/// The session token is in it, so it is wiped.
fn canonical_request(headers: &[(&str, &str)], names: &str, body: &[u8]) -> Zeroizing<String> {
    let size: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    // With room for all of it, no copy of a part stays behind.
    let mut request = Zeroizing::new(String::with_capacity(size + names.len() + 128));
    request.push_str("POST\n/\n\n");
    for (name, value) in headers {
        for part in [name, ":", value, "\n"] {
            request.push_str(part);
        }
    }
    for part in ["\n", names, "\n", &hex(digest(&SHA256, body).as_ref())] {
        request.push_str(part);
    }
    request
}

/// The key for signatures of one day, region and service.
fn signing_key(secret: &str, day: &str, scope: &Scope<'_>) -> hmac::Tag {
    let secret = Zeroizing::new(["AWS4", secret].concat());
    let mut key = mac(secret.as_bytes(), day.as_bytes());
    for part in [scope.region, scope.service, END] {
        key = mac(key.as_ref(), part.as_bytes());
    }
    key
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The time in the form of AWS: `20150830T123600Z`.
pub(super) fn timestamp(time_ms: u64) -> String {
    let mut text = [0; oom_witness_core::TIMESTAMP_LEN];
    oom_witness_core::write_rfc3339_ms(time_ms, &mut text);
    let (seconds, _) = text.split_at_checked(19).unwrap_or_default();
    let kept = seconds.iter().filter(|byte| !b"-:".contains(byte)).map(|byte| char::from(*byte));
    kept.chain(['Z']).collect()
}

/// The requests of AWS's test suite for Signature Version 4 that are `POST /`. Each test has its
/// name there.
///
/// [The suite](https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4)
#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: Scope<'_> =
        Scope { timestamp: "20150830T123600Z", region: "us-east-1", service: "service" };

    fn credentials() -> Credentials {
        Credentials {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: Zeroizing::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            token: Zeroizing::new(String::new()),
        }
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], body: &[u8], names: &str, signature: &str) {
        assert_eq!(
            authorization(&credentials(), &SUITE, headers, body),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            )
        );
    }

    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");

    #[test]
    fn post_vanilla() {
        check(
            &[HOST, DATE],
            b"",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        );
    }

    #[test]
    fn post_header_value_case() {
        check(
            &[HOST, ("my-header1", "VALUE1"), DATE],
            b"",
            "host;my-header1;x-amz-date",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        );
    }

    #[test]
    fn post_x_www_form_urlencoded() {
        check(
            &[("content-type", "application/x-www-form-urlencoded"), HOST, DATE],
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
    }

    /// A session token is one of the signed headers.
    #[test]
    fn post_sts_header_before() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFq\
                     wAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2w\
                     UE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+x\
                     o0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3i\
                     SIlTJabIQwj2ICCR/oLxBA==";
        check(
            &[HOST, DATE, ("x-amz-security-token", token)],
            b"",
            "host;x-amz-date;x-amz-security-token",
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        );
    }

    /// The key in AWS's documentation of signatures, for the service IAM.
    #[test]
    fn the_key_of_a_day_region_and_service() {
        let scope = Scope { service: "iam", ..SUITE };
        assert_eq!(
            hex(signing_key(&credentials().secret_key, "20150830", &scope).as_ref()),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }

    #[test]
    fn a_time_has_no_punctuation_and_no_fraction() {
        assert_eq!(timestamp(1_440_938_160_999), "20150830T123600Z");
    }
}
