//! Datadog's distribution points: `POST https://api.{DD_SITE}/api/v1/distribution_points`.
//!
//! Goes in: a detection, and Datadog's own variables. Comes out: the body of a request (in the
//! agent), its address and headers (in the child). The agent never keeps the key.

use std::ffi::OsString;

use oom_witness_core::{Error, Metric, format};

use super::outbox::WAITING_MAX;
use crate::variable::{Ignored, text};

#[cfg(test)]
mod tests;

/// Datadog takes no point older than an hour.
const AGE_MAX_MS: u64 = 55 * 60 * 1000;

const PATH: &str = "/api/v1/distribution_points";
const SITE: &str = "datadoghq.com";

/// The body of the request that reports `metrics`.
///
/// # Errors
/// The body does not fit into `buffer`.
pub(crate) fn body(metrics: &[Metric<'_>], now_ms: u64, buffer: &mut [u8]) -> Result<usize, Error> {
    let metrics: heapless::Vec<Metric<'_>, WAITING_MAX> =
        metrics.iter().map(|metric| metric.not_older(now_ms, AGE_MAX_MS)).collect();
    format::datadog::write(&metrics, buffer)
}

/// Where to send, and with which key.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Request {
    /// What the variables ask for: `None` without a key.
    ///
    /// # Errors
    /// The variable that cannot be used.
    pub(crate) fn from_vars(
        get: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, Ignored> {
        let key = text(get, "DD_API_KEY");
        if key.is_empty() {
            return Ok(None);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Ignored { name: "DD_API_KEY", takes: "a key of printable characters" });
        }
        for name in ["DD_DD_URL", "DD_URL"] {
            let url = text(get, name);
            if url.is_empty() {
                continue;
            }
            let Some(origin) = origin(&url) else {
                return Err(Ignored { name, takes: "an http or https address without a path" });
            };
            return Ok(Some(Self { url: [origin, PATH].concat(), key }));
        }
        let mut site = text(get, "DD_SITE");
        if site.is_empty() {
            SITE.clone_into(&mut site);
        }
        if !is_host(&site) {
            return Err(Ignored { name: "DD_SITE", takes: "a site such as datadoghq.eu" });
        }
        Ok(Some(Self { url: ["https://api.", &site, PATH].concat(), key }))
    }
}

/// `url` without the slash at its end, if it is scheme and host and nothing else.
fn origin(url: &str) -> Option<&str> {
    let url = url.strip_suffix('/').unwrap_or(url);
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    is_host(host).then_some(url)
}

fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}
