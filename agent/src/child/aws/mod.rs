//! Calls of AWS's services, without an SDK.
//!
//! In: which of the three calls, and its arguments as JSON. Out: the answer's body, or why there is
//! none. `sigv4` signs, `credentials` finds the role's credentials, `http` makes the request, and
//! `json` finds the one text that is wanted. `delivery/endpoint.rs` knows the addresses.

use ureq::http::Uri;
use zeroize::Zeroizing;

use self::credentials::Credentials;
use self::http::{Answer, Http, HttpError};
use self::sigv4::Scope;
use crate::clock::now_ms;
use crate::delivery::endpoint;
use crate::delivery::key_source::KeyStore;
use crate::variable::Variables;

mod credentials;
pub(super) mod http;
pub(super) mod json;
mod sigv4;

/// A caller with credentials.
pub(super) struct Client<'a> {
    get: Variables<'a>,
    http: &'a Http,
    credentials: Credentials,
}

/// Why a call failed.
pub(super) enum CallError {
    /// The service answered with an error.
    Refused(Refusal),
    /// There is no answer.
    Failed(HttpError),
}

/// The error that a service answered with.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Its code, such as `AccessDeniedException`: at most 64 letters and digits. Empty if there is
    /// none.
    pub(super) code: String,
    /// Its message names KMS.
    pub(super) is_about_kms: bool,
}

impl<'a> Client<'a> {
    /// # Errors
    /// Why there are no credentials.
    pub(super) fn new(get: Variables<'a>, http: &'a Http) -> Result<Self, String> {
        Ok(Self { get, http, credentials: Credentials::from_vars(get, http)? })
    }

    /// Makes the call by which `store` gives out what it keeps.
    pub(super) fn call(
        &self,
        store: KeyStore,
        region: &str,
        arguments: &str,
    ) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let url = endpoint::from_vars(self.get, store, region, &mut |_| {});
        let host = url.parse().ok().and_then(|url: Uri| url.authority().map(ToString::to_string));
        let host = host.unwrap_or_default();
        let timestamp = sigv4::timestamp(now_ms());
        // In alphabetical order, as they are signed.
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", &host),
            ("x-amz-date", &timestamp),
        ];
        if !self.credentials.token.is_empty() {
            headers.push(("x-amz-security-token", &self.credentials.token));
        }
        headers.push(("x-amz-target", store.target()));
        let scope = Scope { timestamp: &timestamp, region, service: store.service() };
        let body = arguments.as_bytes();
        let authorization = sigv4::authorization(&self.credentials, &scope, &headers, body);
        headers.push(("authorization", &authorization));
        let answer = self.http.post(&url, &headers, body).map_err(CallError::Failed)?;
        if answer.status == 200 { Ok(answer.body) } else { Err(refusal(&answer)) }
    }
}

/// The error in an answer, which may be anything.
fn refusal(answer: &Answer) -> CallError {
    let at = |names: [&str; 3]| names.iter().find_map(|name| json::text_at(&answer.body, &[name]));
    let code = at(["__type", "code", "Code"]);
    let code = code.as_deref().map(String::as_str).or_else(|| xml_code(&answer.body));
    let message = at(["message", "Message", "errorMessage"]).unwrap_or_default();
    // Some services put a namespace before it: `com.amazonaws.kms#AccessDeniedException`.
    let code = code.and_then(|code| code.rsplit('#').next()).unwrap_or_default();
    let code = code.chars().take_while(char::is_ascii_alphanumeric).take(CODE_MAX).collect();
    let is_about_kms = message.as_bytes().windows(3).any(|word| word.eq_ignore_ascii_case(b"kms"));
    CallError::Refused(Refusal { status: answer.status, code, is_about_kms })
}

const CODE_MAX: usize = 64;

/// The code in an error of the form that AWS's older interfaces have. A service in front of the
/// others may speak it.
fn xml_code(body: &[u8]) -> Option<&str> {
    let body = std::str::from_utf8(body).ok()?;
    let (_, rest) = body.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, code: &str, is_about_kms: bool) {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        let CallError::Refused(refusal) = refusal(&Answer { status: 400, body }) else {
            panic!("there is an answer")
        };
        assert_eq!((refusal.code.as_str(), refusal.is_about_kms), (code, is_about_kms));
    }

    #[test]
    fn the_code_of_an_error_is_letters_and_digits() {
        check(
            r#"{"__type":"AccessDeniedException","Message":"no"}"#,
            "AccessDeniedException",
            false,
        );
        check(r#"{"__type":"com.amazonaws.kms#NotFoundException"}"#, "NotFoundException", false);
        check(r#"{"message":"Access to KMS is not allowed"}"#, "", true);
        check("{\"__type\":\"Bad\\n\\u001b[31mline\"}", "Bad", false);
        let long = "x".repeat(100);
        check(&format!(r#"{{"code":"{long}"}}"#), &long[..64], false);
        let xml = "<Errors><Error><Code>AccessDenied</Code><Message>x</Message></Error></Errors>";
        check(xml, "AccessDenied", false);
        for garbage in ["", "<xml/>", "<Code>", "<Code></Code>", "[]", "{\"__type\":1}"] {
            check(garbage, "", false);
        }
    }
}
