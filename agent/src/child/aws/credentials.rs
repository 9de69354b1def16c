//! The credentials of the function's role.
//!
//! In: the variables that Lambda sets. Out: the credentials. With SnapStart Lambda gives an address
//! from which they are read, and a token for it.

use std::net::{IpAddr, Ipv6Addr};

use ureq::http::Uri;
use zeroize::Zeroizing;

use super::http::{Http, HttpError};
use super::json;
use crate::delivery::proxy;
use crate::variable::{Variables, text};

/// Credentials that sign requests.
pub(super) struct Credentials {
    pub(super) key_id: String,
    pub(super) secret_key: Zeroizing<String>,
    /// Empty for a user's own keys.
    pub(super) token: Zeroizing<String>,
}

impl Credentials {
    /// The credentials that the variables hold, or lead to.
    ///
    /// # Errors
    /// Why there are none. It shows no value.
    pub(super) fn from_vars(get: Variables<'_>, http: &Http) -> Result<Self, String> {
        let value = |name| text(get, name).unwrap_or_default();
        let held = Self {
            key_id: value("AWS_ACCESS_KEY_ID"),
            secret_key: Zeroizing::new(value("AWS_SECRET_ACCESS_KEY")),
            token: Zeroizing::new(value("AWS_SESSION_TOKEN")),
        };
        if held.is_complete() {
            return Ok(held);
        }
        let url = value(URL);
        if url.is_empty() {
            return Err(NONE.to_owned());
        }
        let uri: Uri = url.parse().map_err(|_| NOT_LOCAL)?;
        if !is_allowed(&uri) {
            return Err(NOT_LOCAL.to_owned());
        }
        let token = Zeroizing::new(value("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
        Self::read(http, uri, &token).map_err(|error| format!("{URL}: {error}"))
    }

    fn read(http: &Http, uri: Uri, token: &str) -> Result<Self, HttpError> {
        let answer = http.get(uri, ("authorization", token))?;
        if answer.status != 200 {
            return Err(HttpError::Status(answer.status));
        }
        let at = |name| json::text_at(&answer.body, &[name]);
        let no_key = HttpError::Other("its answer holds no key");
        let read = Self {
            key_id: at("AccessKeyId").map(|id| id.as_str().to_owned()).unwrap_or_default(),
            secret_key: at("SecretAccessKey").unwrap_or_default(),
            token: at("Token").unwrap_or_default(),
        };
        if read.is_complete() { Ok(read) } else { Err(no_key) }
    }

    /// True if there is a key, and all of it can be part of a header.
    fn is_complete(&self) -> bool {
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        !self.key_id.is_empty()
            && !self.secret_key.is_empty()
            && is_word(&self.key_id)
            && is_word(&self.token)
    }
}

const URL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const NONE: &str = "there are no credentials: AWS_ACCESS_KEY_ID is not set";
const NOT_LOCAL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI takes an https address, or an http \
                         address of this machine";

/// True for https, and for http to an address that nobody else can have: as in AWS's SDKs, the
/// credentials never cross a network unencrypted.
fn is_allowed(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => proxy::is_near(host) || proxy::ip_address(host) == Some(EKS),
        _ => false,
    }
}

/// EKS's address for credentials, which is not link-local.
const EKS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_over_https_or_from_this_machine() {
        for (url, expected) in [
            ("https://example.com/x", true),
            ("http://localhost:80/x", true),
            ("http://127.0.0.1:9001/2021/credentials", true),
            ("http://169.254.170.2/v2", true),
            ("http://[::1]/x", true),
            ("http://[fe80::1]/x", true),
            ("http://[fd00:ec2::23]/v1", true),
            ("http://10.0.0.1/x", false),
            ("http://example.com/x", false),
            ("http://127.0.0.1.example.com/x", false),
            ("http://localhost@example.com/x", false),
            ("ftp://localhost/x", false),
            ("/x", false),
        ] {
            let uri: Uri = url.parse().unwrap();
            assert_eq!(is_allowed(&uri), expected, "{url}");
        }
    }
}
