//! OTLP metrics over HTTP, as binary protobuf: `POST {endpoint}/v1/metrics`.
//!
//! In: detections, and OpenTelemetry's own variables. Out: the body of a request (in the agent),
//! and its address and headers (in the child). The variables have the names, defaults and meanings
//! of the specification, unless `variables.rs` and `settings.rs` say otherwise
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use std::borrow::Cow;
use std::ffi::CStr;

use oom_witness_core::format::otlp::{self, OtlpOptions, PartialSuccess, Temporality};
use oom_witness_core::{Error, Metric};

use super::{
    Answer, Definition, NoWrites, RequestContext, Requests, SinkRequest, SinkSettings, SinkUse,
};
use crate::delivery::send_result::SendResult;
use crate::delivery::{endpoint as aws, proxy};
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, variables};

mod settings;
#[cfg(test)]
mod tests;
mod variables;

pub(crate) use self::settings::OtlpSettings;
use self::variables::{endpoint, headers, headers_source, is_metrics_exporter, protocol, timeout};

/// The sink.
pub(crate) struct Otlp;

impl Definition for Otlp {
    type Requests = Self;
    type Writes = NoWrites;

    const NAME: &CStr = c"otlp";
    const TAKES: &str = "otlp";
    const VARIABLES: &[VariableRow] = variables![
        ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] Address
            "where an OTLP/HTTP receiver is; with an endpoint, otlp is configured",
        ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"] Length
            "headers of each request",
        ["OOM_WITNESS_OTLP_HEADERS_SECRET_ARN"] All
            "where further headers are: a secret in Secrets Manager, or a parameter in SSM",
        ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] All
            "http/protobuf; grpc cannot be used",
        ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"] All
            "milliseconds until an answer; 900 at most",
        ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE"] All
            "root certificates, in place of SSL_CERT_FILE",
        ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] All "delta (default) or cumulative",
        ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"] All "attributes to add",
        ["OTEL_METRICS_EXPORTER", "OTEL_SDK_DISABLED"] All
            "without otlp in the first, or with true: an endpoint alone does not turn otlp on",
        [
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY"
        ] All
            "not supported",
    ];
    const OTHER_EXTENSION: Option<&str> = None;
    const RECEIVER: Option<&str> = None;

    /// It is configured if there is an endpoint, unless the user wants no OTLP metrics.
    fn usable(get: Variables<'_>) -> Result<SinkUse, InvalidVariable> {
        protocol(get)?;
        headers(get)?;
        headers_source(get)?;
        let is_wanted = !endpoint(get)?.is_default && is_metrics_exporter(get)?;
        Ok(if is_wanted { SinkUse::Configured } else { SinkUse::IfNamed })
    }

    #[cold]
    #[inline(never)]
    fn check(get: Variables<'_>, warn: &mut dyn FnMut(Warning)) {
        variables::check(get, warn);
        let Ok(Some(request)) = Self::request(get) else { return };
        if let Some(source) = &request.key {
            aws::from_vars(get, source.store, "", warn);
        }
        let mut on_invalid = |invalid| warn(Warning::NotUsed(invalid, proxy::WITHOUT));
        proxy::from_vars(get, &request.url, &mut on_invalid);
    }

    fn read(
        get: Variables<'_>,
        is_used: bool,
        settings: &mut SinkSettings,
        warn: &mut dyn FnMut(Warning),
    ) {
        settings.otlp = OtlpSettings::from_vars(get, is_used, warn);
    }
}

impl Requests for Otlp {
    const NEED_NETWORK: bool = true;

    // A frame of its own: only the sink that is sent to takes stack.
    #[cold]
    #[inline(never)]
    fn body(
        metrics: &mut [Metric<'_>],
        context: &RequestContext<'_>,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let RequestContext { settings, start_ms, before, .. } = *context;
        let is_cumulative = settings.otlp.is_cumulative;
        let mut digits = [0; INSTANCE_DIGITS];
        let options = OtlpOptions {
            temporality: match is_cumulative {
                true => Temporality::Cumulative { start_ms, before },
                false => Temporality::Delta,
            },
            resource_attributes: &settings.otlp.resource_attributes,
            service_name: &settings.otlp.service_name,
            instance_id: if is_cumulative { hex(context.environment, &mut digits) } else { "" },
            scope_version: env!("CARGO_PKG_VERSION"),
        };
        otlp::write(metrics, &options, buffer)
    }

    fn request(get: Variables<'_>) -> Result<Option<SinkRequest>, InvalidVariable> {
        protocol(get)?;
        let mut headers = headers(get)?;
        let protobuf = "application/x-protobuf".to_owned();
        headers.push((Cow::Borrowed("Content-Type"), protobuf));
        Ok(Some(SinkRequest {
            url: endpoint(get)?.url,
            headers,
            key: headers_source(get)?,
            certificates: &CERTIFICATES,
            timeout: timeout(get).unwrap_or_default(),
        }))
    }

    /// The specification names four statuses after which a request is sent again
    /// (<https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes>). Points that a
    /// receiver rejects in an answer of success are not.
    fn result_of(answer: &Answer<'_>) -> (SendResult, String) {
        let result = match answer.status {
            200..300 => {
                let success = PartialSuccess::read(answer.body);
                return match (success.rejected_data_points, success.error_message) {
                    (0, message) => (SendResult::Taken, printable(message)),
                    (count, message) => {
                        let text = format!("it rejected {count} data points");
                        (SendResult::Refused, with_message(text, message))
                    }
                };
            }
            429 | 502 | 503 | 504 => SendResult::NotTaken,
            _ => SendResult::Refused,
        };
        (result, with_message(answer.status_text(), otlp::status_message(answer.body)))
    }
}

/// Variables that may name a file of root certificates. The first that is set counts.
const CERTIFICATES: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE", "SSL_CERT_FILE"];

/// `text`, and what the receiver says about it.
fn with_message(text: String, message: &str) -> String {
    let message = printable(message);
    if message.is_empty() { text } else { [&text, ": ", &message].concat() }
}

/// The beginning of a text from outside, on one line.
fn printable(text: &str) -> String {
    let is_printable = |character: &char| !character.is_control();
    text.chars().filter(is_printable).take(MESSAGE_MAX).collect()
}

/// The longest message of a receiver that is repeated in a log, in characters.
const MESSAGE_MAX: usize = 200;

/// The number's hexadecimal digits, or nothing for 0.
fn hex(number: u64, digits: &mut [u8; INSTANCE_DIGITS]) -> &str {
    if number == 0 {
        return "";
    }
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        let value = (number >> (4 * place)) & 15;
        *digit = b"0123456789abcdef".get(value as usize).copied().unwrap_or(b'0');
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

const INSTANCE_DIGITS: usize = 16;
