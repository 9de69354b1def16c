//! Datadog's distribution points: `POST https://api.{DD_SITE}/api/v1/distribution_points`.
//!
//! In: detections, and Datadog's own variables. Out: the body of a request (in the agent), and its
//! address and headers (in the child). The agent never keeps the key.

use std::ffi::CStr;

use oom_witness_core::{Error, Metric, format};

use super::{
    Answer, Definition, NoWrites, RequestContext, Requests, SinkRequest, SinkSettings, SinkUse,
};
use crate::delivery::proxy;
use crate::delivery::send_result::SendResult;
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, text, variables};

mod tags;
#[cfg(test)]
mod tests;

/// A metric that is older is sent as a late one of now: Datadog takes no point older than an hour.
const AGE_MAX_MS: u64 = 55 * 60 * 1000;

const PATH: &str = "/api/v1/distribution_points";
const SITE: &str = "datadoghq.com";

/// The sink.
pub(crate) struct Datadog;

impl Definition for Datadog {
    type Requests = Self;
    type Writes = NoWrites;

    const NAME: &CStr = c"datadog";
    const TAKES: &str = "datadog (with DD_API_KEY)";
    const VARIABLES: &[VariableRow] = variables![
        ["DD_API_KEY"] Length "with it, datadog is configured, unless Datadog's extension is in /opt/extensions",
        ["DD_SITE"] All "Datadog's site; datadoghq.com by default",
        ["DD_DD_URL", "DD_URL"] Address "another address to send to",
        ["DD_TAGS", "DD_ENV", "DD_SERVICE", "DD_VERSION"] All "tags to add",
    ];
    const OTHER_EXTENSION: Option<&str> = Some("datadog-agent");
    const RECEIVER: Option<&str> = None;

    /// It is configured if there is a key.
    fn usable(get: Variables<'_>) -> Result<SinkUse, InvalidVariable> {
        let intake = DatadogIntake::from_vars(get)?;
        Ok(if intake.is_some() { SinkUse::Configured } else { SinkUse::Unusable })
    }

    #[cold]
    #[inline(never)]
    fn check(get: Variables<'_>, warn: &mut dyn FnMut(Warning)) {
        let Ok(Some(intake)) = DatadogIntake::from_vars(get) else { return };
        if let Some(name) = intake.exposed_by() {
            let but =
                "is not https and leads to another machine: the API key can be read on its way";
            warn(Warning::Used { name, but });
        }
        let mut on_invalid = |invalid| warn(Warning::NotUsed(invalid, proxy::WITHOUT));
        proxy::from_vars(get, &intake.request.url, &mut on_invalid);
    }

    fn read(
        get: Variables<'_>,
        is_used: bool,
        settings: &mut SinkSettings,
        warn: &mut dyn FnMut(Warning),
    ) {
        tags::read(get, is_used, settings, warn);
    }
}

impl Requests for Datadog {
    const NEED_NETWORK: bool = true;

    // A frame of its own: only the sink that is sent to takes stack.
    #[cold]
    #[inline(never)]
    fn body(
        metrics: &mut [Metric<'_>],
        context: &RequestContext<'_>,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        for metric in &mut *metrics {
            *metric = metric.not_older(context.now_ms, AGE_MAX_MS);
        }
        format::datadog::write(metrics, buffer)
    }

    fn request(get: Variables<'_>) -> Result<Option<SinkRequest>, InvalidVariable> {
        let intake = DatadogIntake::from_vars(get)?;
        let intake = intake.ok_or(InvalidVariable { name: "DD_API_KEY", takes: "set" })?;
        Ok(Some(intake.request))
    }

    /// After 408, 429, 500 and 503 the intake has taken nothing. 502 and 504 come from a proxy
    /// before it, so it may have taken the points.
    fn result_of(answer: &Answer<'_>) -> (SendResult, String) {
        let result = match answer.status {
            200..300 => return (SendResult::Taken, String::new()),
            408 | 429 | 500 | 503 => SendResult::NotTaken,
            502 | 504 => SendResult::Unknown,
            _ => SendResult::Refused,
        };
        (result, answer.status_text())
    }
}

/// The intake that the variables name, and the key for it.
struct DatadogIntake {
    request: SinkRequest,
    /// The variable that holds the address, or the site.
    variable: &'static str,
}

impl DatadogIntake {
    /// The intake that the variables ask for. `None` without a key.
    ///
    /// # Errors
    /// The variable that cannot be used.
    fn from_vars(get: Variables<'_>) -> Result<Option<Self>, InvalidVariable> {
        let key = text(get, "DD_API_KEY")?;
        if key.is_empty() {
            return Ok(None);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidVariable {
                name: "DD_API_KEY",
                takes: "a key of printable characters",
            });
        }
        let (variable, url) = address(get)?;
        let json = "application/json".to_owned();
        let headers = vec![("DD-API-KEY".into(), key), ("Content-Type".into(), json)];
        let request =
            SinkRequest { url, headers, certificates: &["SSL_CERT_FILE"], timeout: None };
        Ok(Some(Self { request, variable }))
    }

    /// The variable that makes the key readable to anybody on the way to another machine.
    fn exposed_by(&self) -> Option<&'static str> {
        SinkRequest::is_exposed(&self.request.url).then_some(self.variable)
    }
}

/// The address, and the variable that it comes from.
fn address(get: Variables<'_>) -> Result<(&'static str, String), InvalidVariable> {
    for name in ["DD_DD_URL", "DD_URL"] {
        let url = text(get, name)?;
        if url.is_empty() {
            continue;
        }
        let takes = "an http or https address without a path";
        let origin = origin(&url).ok_or(InvalidVariable { name, takes })?;
        return Ok((name, [origin, PATH].concat()));
    }
    let name = "DD_SITE";
    let mut site = text(get, name)?;
    if site.is_empty() {
        SITE.clone_into(&mut site);
    }
    if !is_host(&site) {
        return Err(InvalidVariable { name, takes: "a site such as datadoghq.eu" });
    }
    Ok((name, ["https://api.", &site, PATH].concat()))
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
