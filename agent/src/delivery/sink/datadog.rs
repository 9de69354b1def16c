//! Datadog's distribution points: `POST https://api.{DD_SITE}/api/v1/distribution_points`.
//!
//! In: detections, and Datadog's own variables. Out: the body of a request (in the agent), and its
//! address and headers (in the child). The agent never keeps the key.

use std::ffi::CStr;

use oom_witness_core::format::datadog::UserTags;
use oom_witness_core::{Error, Metric, format};

use super::{
    Answer, Definition, NoWrites, RequestContext, Requests, SinkRequest, SinkSettings, SinkUse,
};
use crate::delivery::endpoint::{self, EXPOSES_KEY, TAKES_ORIGIN, is_host, origin};
use crate::delivery::key_source::{KeyForm, KeySource, KeyStore};
use crate::delivery::proxy;
use crate::delivery::send_result::SendResult;
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, text, variables};

mod tags;
#[cfg(test)]
mod tests;

pub(crate) use self::tags::DatadogTags;

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
        ["DD_API_KEY"] Length
            "with it, datadog is configured, unless Datadog's extension is in /opt/extensions",
        ["DD_KMS_API_KEY"] Length "the key, encrypted by KMS, in place of DD_API_KEY",
        ["DD_API_KEY_SECRET_ARN", "DD_API_KEY_SSM_ARN"] All
            "where the key is, in place of DD_API_KEY: a secret in Secrets Manager, a parameter in \
             SSM",
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
            warn(Warning::Used { name, but: EXPOSES_KEY });
        }
        if let Some(source) = &intake.request.key {
            endpoint::from_vars(get, source.store, "", warn);
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
        tags::read(get, is_used, &mut settings.datadog, warn);
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
        let DatadogTags { tags, env, service, version } = &context.settings.datadog;
        let user = UserTags { tags, env, service, version };
        format::datadog::write(metrics, &user, buffer)
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
        let key = key_source(get)?;
        let mut headers = vec![("Content-Type".into(), "application/json".to_owned())];
        if key.is_none() {
            let key = text(get, "DD_API_KEY")?;
            if key.is_empty() {
                return Ok(None);
            }
            if !is_key(&key) {
                return Err(InvalidVariable { name: "DD_API_KEY", takes: TAKES_KEY });
            }
            headers.push((KEY_HEADER.into(), key));
        }
        let (variable, url) = address(get)?;
        let certificates = &["SSL_CERT_FILE"];
        let request = SinkRequest { url, headers, key, certificates, timeout: None };
        Ok(Some(Self { request, variable }))
    }

    /// The variable that makes the key readable to anybody on the way to another machine.
    fn exposed_by(&self) -> Option<&'static str> {
        SinkRequest::is_exposed(&self.request.url).then_some(self.variable)
    }
}

/// Where the key is, if a variable names the place. As in Datadog's extension, the first of these
/// variables counts, and `DD_API_KEY` does not
/// (<https://github.com/DataDog/datadog-lambda-extension/blob/main/bottlecap/src/secrets/decrypt.rs>).
fn key_source(get: Variables<'_>) -> Result<Option<KeySource>, InvalidVariable> {
    for (name, store) in [
        ("DD_KMS_API_KEY", KeyStore::Kms),
        ("DD_API_KEY_SECRET_ARN", KeyStore::SecretsManager),
        ("DD_API_KEY_SSM_ARN", KeyStore::Ssm),
    ] {
        let source = KeySource::from_var(get, name, &[store], KEY_FORM)?;
        if source.is_some() {
            return Ok(source);
        }
    }
    Ok(None)
}

const KEY_HEADER: &str = "DD-API-KEY";

const TAKES_KEY: &str = "a key of printable characters";

const KEY_FORM: KeyForm = KeyForm {
    names: &["dd_api_key", "apiKey", "api_key"],
    takes: TAKES_KEY,
    headers: |key| is_key(key).then(|| vec![(KEY_HEADER.into(), key.to_owned())]),
};

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The address, and the variable that it comes from.
fn address(get: Variables<'_>) -> Result<(&'static str, String), InvalidVariable> {
    for name in ["DD_DD_URL", "DD_URL"] {
        let url = text(get, name)?;
        if url.is_empty() {
            continue;
        }
        let origin = origin(&url).ok_or(InvalidVariable { name, takes: TAKES_ORIGIN })?;
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
