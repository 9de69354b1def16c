//! The body of a telemetry subscription, checked.
//!
//! ```json
//! {"schemaVersion":"2025-01-29","types":["platform"],
//!  "buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},
//!  "destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080"}}
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

/// A checked subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) schema: Schema,
    pub(crate) types: Vec<String>,
    pub(crate) buffering: Buffering,
    pub(crate) destination: Destination,
}

/// A schema version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[allow(clippy::enum_variant_names)]
pub(crate) enum Schema {
    V2022_07_01,
    V2022_12_13,
    V2025_01_29,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Buffering {
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) timeout_ms: u64,
}

/// Where batches go. `sandbox.localdomain` is this machine's loopback.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) host: String,
}

impl Schema {
    /// Whether `record` of a log event may be an object.
    pub(crate) fn has_objects(self) -> bool {
        self >= Self::V2022_12_13
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "2022-07-01" => Some(Self::V2022_07_01),
            "2022-12-13" => Some(Self::V2022_12_13),
            "2025-01-29" => Some(Self::V2025_01_29),
            _ => None,
        }
    }
}

impl Subscription {
    /// Reads the body. The error is the message of the `ValidationError`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let schema = body["schemaVersion"].as_str().and_then(Schema::parse);
        let schema = schema.ok_or("schemaVersion: not a supported version")?;
        Ok(Self {
            schema,
            types: types(&body["types"])?,
            buffering: Buffering {
                max_items: number(&body, "maxItems", 1000, 10_000, 10_000)?,
                max_bytes: number(&body, "maxBytes", 262_144, 1_048_576, 262_144)?,
                timeout_ms: number(&body, "timeoutMs", 25, 30_000, 1000)? as u64,
            },
            destination: destination(&body["destination"])?,
        })
    }
}

fn types(value: &Value) -> Result<Vec<String>, String> {
    let types = value.as_array().filter(|types| !types.is_empty()).ok_or("types: none")?;
    let known = |kind: &Value| match kind.as_str() {
        Some(kind @ ("platform" | "function" | "extension")) => Ok(kind.to_string()),
        _ => Err(format!("types: {kind} is not a type")),
    };
    types.iter().map(known).collect()
}

fn number(
    body: &Value,
    name: &str,
    min: usize,
    max: usize,
    default: usize,
) -> Result<usize, String> {
    let value = &body["buffering"][name];
    if value.is_null() {
        return Ok(default);
    }
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("buffering.{name}: {value} is not between {min} and {max}"))
}

fn destination(value: &Value) -> Result<Destination, String> {
    let protocol = value["protocol"].as_str().unwrap_or_default();
    if !protocol.eq_ignore_ascii_case("HTTP") {
        return Err(format!("destination.protocol: {protocol} is not HTTP"));
    }
    let uri = value["URI"].as_str().unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
