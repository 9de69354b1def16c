//! The request by which a child sends to a sink, without its body.

#[cfg(feature = "network")]
use crate::delivery::key_source::KeySource;
#[cfg(feature = "network")]
use crate::delivery::proxy;

/// A POST request without its body.
#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
#[derive(Debug)]
pub(crate) struct SinkRequest {
    pub(crate) url: String,
    /// Names and values, without `Content-Length`.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Where the key is, which becomes further headers. `None` if the headers are complete.
    #[cfg(feature = "network")]
    pub(crate) key: Option<KeySource>,
}

#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
impl SinkRequest {
    /// True if anybody on the way to another machine can read a request to this address.
    #[cfg(feature = "network")]
    pub(crate) fn is_exposed(url: &str) -> bool {
        url.starts_with("http://") && !proxy::is_loopback(host(url))
    }

    /// The host that the address names, without its port.
    pub(crate) fn host(&self) -> &str {
        host(&self.url)
    }
}

/// The host that an address names, without its port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    match place.split_once(']') {
        Some((address, _)) => place.get(..=address.len()).unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
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
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
