//! The request by which a child sends to a sink: what its body is written from, and the rest of it.

use std::borrow::Cow;
use std::time::Duration;

use oom_witness_core::Source;
use oom_witness_core::format::otlp::OtlpSums;

use super::SinkSettings;
#[cfg(feature = "network")]
use crate::delivery::key_source::KeySource;
#[cfg(feature = "network")]
use crate::delivery::proxy;

/// What a body is written from, beside the metrics.
#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no body is written"))]
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    /// The function.
    pub(crate) source: &'a Source<'a>,
    pub(crate) settings: &'a SinkSettings,
    pub(crate) now_ms: u64,
    /// When this process began to count.
    pub(crate) start_ms: u64,
    /// A number that distinguishes the environment from others of the function. 0 if there is none.
    pub(crate) environment: u64,
    /// What this process has counted for the sink before.
    pub(crate) before: OtlpSums,
}

/// A POST request without its body.
#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
#[derive(Debug)]
pub(crate) struct SinkRequest {
    pub(crate) url: String,
    /// Names and values, without `Content-Length`.
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    /// Where the key is, which becomes further headers. `None` if the headers are complete.
    #[cfg(feature = "network")]
    pub(crate) key: Option<KeySource>,
    /// Variables that may name a file of root certificates. The first that is set counts.
    pub(crate) certificates: &'static [&'static str],
    /// The longest time for an answer, if the user sets one.
    pub(crate) timeout: Option<Duration>,
}

#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
impl SinkRequest {
    /// True if anybody on the way to another machine can read a request to this address.
    #[cfg(feature = "network")]
    pub(crate) fn is_exposed(url: &str) -> bool {
        url.starts_with("http://") && !proxy::is_loopback(Self::host(url))
    }

    /// The host that an address names, without its port.
    pub(crate) fn host(url: &str) -> &str {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let place = rest.split('/').next().unwrap_or_default();
        match place.split_once(']') {
            Some((address, _)) => place.get(..=address.len()).unwrap_or_default(),
            None => place.split(':').next().unwrap_or_default(),
        }
    }
}

/// An intake's answer.
#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The beginning of its body.
    pub(crate) body: &'a [u8],
}

#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
impl Answer<'_> {
    /// What it says, for a log.
    pub(crate) fn status_text(&self) -> String {
        format!("it answered {}", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_the_address_names_without_its_port() {
        for (url, expected) in [
            ("https://api.datadoghq.com/path", "api.datadoghq.com"),
            ("http://127.0.0.1:8080/path", "127.0.0.1"),
            ("http://[::1]:8080/path", "[::1]"),
        ] {
            assert_eq!(SinkRequest::host(url), expected, "{url}");
        }
    }
}
