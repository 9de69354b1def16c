//! Datadog's distribution points: `POST https://api.{DD_SITE}/api/v1/distribution_points`.
//!
//! Goes in: a detection, and Datadog's own variables. Comes out: the body of a request (in the
//! agent), its address and headers (in the child). The agent never keeps the key.

use std::ffi::OsString;

use oom_witness_core::{Error, Metric, format};

use crate::delivery::outbox::WAITING_MAX;
use crate::delivery::proxy;
use crate::variable::{Ignored, Warning, text};

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
    /// The variable that holds the address, or the site.
    variable: &'static str,
}

impl Request {
    /// What the variables ask for: `None` without a key.
    ///
    /// # Errors
    /// The variable that cannot be used.
    pub(crate) fn from_vars(
        get: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, Ignored> {
        let key = text(get, "DD_API_KEY")?;
        if key.is_empty() {
            return Ok(None);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Ignored { name: "DD_API_KEY", takes: "a key of printable characters" });
        }
        for variable in ["DD_DD_URL", "DD_URL"] {
            let url = text(get, variable)?;
            if url.is_empty() {
                continue;
            }
            let Some(origin) = origin(&url) else {
                let takes = "an http or https address without a path";
                return Err(Ignored { name: variable, takes });
            };
            return Ok(Some(Self { url: [origin, PATH].concat(), key, variable }));
        }
        let variable = "DD_SITE";
        let mut site = text(get, variable)?;
        if site.is_empty() {
            SITE.clone_into(&mut site);
        }
        if !is_host(&site) {
            return Err(Ignored { name: variable, takes: "a site such as datadoghq.eu" });
        }
        Ok(Some(Self { url: ["https://api.", &site, PATH].concat(), key, variable }))
    }

    /// The host that the address names, without its port.
    pub(crate) fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let place = rest.split('/').next().unwrap_or_default();
        match place.split_once(']') {
            Some((address, _)) => place.get(..=address.len()).unwrap_or_default(),
            None => place.split(':').next().unwrap_or_default(),
        }
    }

    /// The variable because of which anybody on the way to another machine could read the key.
    fn exposed_by(&self) -> Option<&'static str> {
        let is_exposed = self.url.starts_with("http://") && !proxy::is_loopback(self.host());
        is_exposed.then_some(self.variable)
    }
}

/// Warns of what a send will not do as the user may expect.
#[cold]
#[inline(never)]
pub(crate) fn check_way(get: &dyn Fn(&str) -> Option<OsString>, warn: &mut dyn FnMut(Warning)) {
    let Ok(Some(request)) = Request::from_vars(get) else { return };
    if let Some(name) = request.exposed_by() {
        let but = "is not https and leads to another machine: the API key can be read on its way";
        warn(Warning::Used { name, but });
    }
    let mut ignored = |ignored| warn(Warning::NotUsed(ignored, "requests go without it"));
    proxy::from_vars(get, request.host(), &mut ignored);
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
