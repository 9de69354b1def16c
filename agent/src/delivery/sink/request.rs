//! The request by which a child sends to a sink, without its body.

/// A POST request without its body.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct SinkRequest {
    pub(crate) url: String,
    /// Names and values, without `Content-Length`.
    pub(crate) headers: Vec<(&'static str, String)>,
}

#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
impl SinkRequest {
    /// The host that the address names, without its port.
    pub(crate) fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let place = rest.split('/').next().unwrap_or_default();
        match place.split_once(']') {
            Some((address, _)) => place.get(..=address.len()).unwrap_or_default(),
            None => place.split(':').next().unwrap_or_default(),
        }
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
            let request = SinkRequest { url: url.to_owned(), headers: Vec::new() };
            assert_eq!(request.host(), expected, "{url}");
        }
    }
}
