//! The body of a telemetry subscription, checked.
//!
//! ```json
//! {"schemaVersion":"2025-01-29","types":["platform"],
//!  "buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},
//!  "destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080"}}
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

/// A checked subscription.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Subscription {
    #[serde(rename = "schemaVersion")]
    pub(crate) schema: Schema,
    pub(crate) types: Vec<String>,
    #[serde(default)]
    pub(crate) buffering: Buffering,
    pub(crate) destination: Destination,
}

/// A schema version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[allow(clippy::enum_variant_names)]
pub(crate) enum Schema {
    #[serde(rename = "2022-07-01")]
    V2022_07_01,
    #[serde(rename = "2022-12-13")]
    V2022_12_13,
    #[serde(rename = "2025-01-29")]
    V2025_01_29,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Buffering {
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) timeout_ms: u64,
}

impl Default for Buffering {
    fn default() -> Self {
        Self { max_items: 10_000, max_bytes: 262_144, timeout_ms: 1000 }
    }
}

/// Where batches go. `sandbox.localdomain` is this machine's loopback.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "DestinationText")]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) host: String,
}

#[derive(Deserialize)]
struct DestinationText {
    protocol: String,
    #[serde(rename = "URI")]
    uri: String,
}

impl Schema {
    /// Whether `record` of a log event may be an object.
    pub(crate) fn has_objects(self) -> bool {
        self >= Self::V2022_12_13
    }
}

impl Subscription {
    /// Reads the body. The error is the message of the `ValidationError`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let body: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let is_type =
            |kind: &String| matches!(kind.as_str(), "platform" | "function" | "extension");
        let Buffering { max_items, max_bytes, timeout_ms } = body.buffering;
        for (is_right, wrong) in [
            (!body.types.is_empty(), "types: none"),
            (body.types.iter().all(is_type), "types: not platform, function or extension"),
            ((1000..=10_000).contains(&max_items), "buffering.maxItems: not 1000 to 10000"),
            (
                (262_144..=1_048_576).contains(&max_bytes),
                "buffering.maxBytes: not 256 KiB to 1 MiB",
            ),
            ((25..=30_000).contains(&timeout_ms), "buffering.timeoutMs: not 25 to 30000"),
        ] {
            if !is_right {
                return Err(wrong.into());
            }
        }
        Ok(body)
    }
}

impl TryFrom<DestinationText> for Destination {
    type Error = String;

    fn try_from(DestinationText { protocol, uri }: DestinationText) -> Result<Self, String> {
        if !protocol.eq_ignore_ascii_case("HTTP") {
            return Err(format!("destination.protocol: {protocol} is not HTTP"));
        }
        let rest = uri.strip_prefix("http://").ok_or("destination.URI: not http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if !matches!(host, "sandbox.localdomain" | "sandbox") {
            return Err(format!("destination.URI: host {host} is not sandbox.localdomain"));
        }
        match port.parse() {
            Ok(9001) | Err(_) => Err(format!("destination.URI: port {port} cannot be used")),
            Ok(port) => Ok(Destination {
                address: (Ipv4Addr::LOCALHOST, port).into(),
                path: format!("/{path}"),
                host: authority.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(change: impl FnOnce(&mut Value)) -> Result<Subscription, String> {
        let mut body = json!({
            "schemaVersion": "2025-01-29", "types": ["platform", "function"],
            "buffering": {"maxItems": 1000, "timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:6161/a/b"},
        });
        change(&mut body);
        Subscription::parse(body.to_string().as_bytes())
    }

    #[test]
    fn a_full_body() {
        let parsed = body(|_| {}).expect("a subscription");
        let buffering = Buffering { max_items: 1000, max_bytes: 262_144, timeout_ms: 25 };
        assert_eq!(parsed.buffering, buffering);
        let Destination { address, path, host } = parsed.destination;
        assert_eq!(address.to_string(), "127.0.0.1:6161");
        assert_eq!((path.as_str(), host.as_str()), ("/a/b", "sandbox.localdomain:6161"));
    }

    #[test]
    fn what_is_refused() {
        let cases: [(&str, Value); 8] = [
            ("schemaVersion", json!("2021-01-01")),
            ("types", json!([])),
            ("types", json!(["platform", "x"])),
            ("buffering", json!({"maxItems": 999})),
            ("buffering", json!({"maxBytes": 1_048_577})),
            ("buffering", json!({"timeoutMs": "25"})),
            ("destination", json!({"protocol": "HTTP", "URI": "http://example.com:80"})),
            ("destination", json!({"protocol": "HTTP", "URI": "http://sandbox:9001"})),
        ];
        for (name, value) in cases {
            assert!(body(|body| body[name] = value.clone()).is_err(), "{name}: {value}");
        }
        assert!(Subscription::parse(b"{").is_err());
    }
}
