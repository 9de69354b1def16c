//! Where OpenTelemetry's variables lead, and what a receiver's answers mean.

use std::ffi::OsString;
use std::time::Duration;

use super::{Answer, Definition, Otlp, OtlpSettings, Requests, SinkUse, hex};
use crate::delivery::send_result::SendResult;
use crate::variable::Warning;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const METRICS_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL";

/// Variables with their values.
type Vars<'a> = &'a [(&'a str, &'a str)];

fn value(vars: Vars<'_>, name: &str) -> Option<OsString> {
    vars.iter().find(|(var, _)| *var == name).map(|(_, value)| OsString::from(value))
}

/// The address of a request, or the variable that cannot be used.
#[track_caller]
fn check(vars: Vars<'_>, expected: Result<&str, &str>) {
    let request = Otlp::request(&|name| value(vars, name));
    let found = request.map(|request| request.expect("a request").url);
    let found = found.as_deref().map_err(|invalid| invalid.name);
    assert_eq!(found, expected);
    let usable = Otlp::usable(&|name| value(vars, name)).map_err(|invalid| invalid.name);
    assert_eq!(usable.is_ok(), expected.is_ok(), "a child and the agent agree");
}

#[test]
fn an_endpoint_is_where_the_specification_says() {
    check(&[], Ok("http://localhost:4318/v1/metrics"));
    for (endpoint, url) in [
        ("http://collector:4318", "http://collector:4318/v1/metrics"),
        ("https://otlp.example/", "https://otlp.example/v1/metrics"),
        ("https://[::1]:4318/otlp", "https://[::1]:4318/otlp/v1/metrics"),
    ] {
        check(&[(ENDPOINT, endpoint)], Ok(url));
    }
    // The variable for metrics names the whole address, and wins.
    let both = [(METRICS_ENDPOINT, "http://a/b?c=d"), (ENDPOINT, "http://x")];
    check(&both, Ok("http://a/b?c=d"));
    for wrong in
        ["collector:4318", "ftp://a", "http://", "http://a b", "http://u:p@a", "http://a/#b"]
    {
        check(&[(ENDPOINT, wrong)], Err(ENDPOINT));
        check(&[(METRICS_ENDPOINT, wrong)], Err(METRICS_ENDPOINT));
    }
}

#[test]
fn only_http_is_spoken() {
    let endpoint = (ENDPOINT, "http://a");
    for protocol in ["http/protobuf", "http/json", ""] {
        check(&[endpoint, (PROTOCOL, protocol)], Ok("http://a/v1/metrics"));
    }
    check(&[endpoint, (PROTOCOL, "grpc")], Err(PROTOCOL));
    let both = [endpoint, (PROTOCOL, "grpc"), (METRICS_PROTOCOL, "http/protobuf")];
    check(&both, Ok("http://a/v1/metrics"));
    check(&[endpoint, (METRICS_PROTOCOL, "grpc")], Err(METRICS_PROTOCOL));
    // The port of a gRPC receiver, unless the user says that it is not.
    let grpc = (ENDPOINT, "http://localhost:4317");
    check(&[grpc], Err(ENDPOINT));
    check(&[grpc, (PROTOCOL, "http/protobuf")], Ok("http://localhost:4317/v1/metrics"));
}

#[test]
fn headers_are_decoded() {
    let headers = |text| {
        let vars = [(HEADERS, text)];
        let request = Otlp::request(&|name| value(&vars, name));
        request.map(|request| request.expect("a request").headers)
    };
    let expected = [
        ("api-key", "se cret"),
        ("authorization", "Basic YTpi=="),
        ("Content-Type", "application/x-protobuf"),
    ];
    assert_eq!(
        headers("api-key=se%20cret, authorization=Basic%20YTpi==").expect("headers"),
        expected.map(|(name, value)| (name.into(), value.into()))
    );
    for wrong in ["a", "a b=c", "a=%0d%0ab", "a=%ff", "content-type=text/plain", "Host=x", "a=b,"] {
        check(&[(HEADERS, wrong)], Err(HEADERS));
    }
}

#[test]
fn an_endpoint_configures_the_sink_unless_the_user_wants_no_metrics() {
    let usable = |vars: Vars<'_>| Otlp::usable(&|name| value(vars, name)).expect("usable");
    let endpoint = (ENDPOINT, "http://a");
    assert_eq!(usable(&[]), SinkUse::IfNamed);
    assert_eq!(usable(&[(HEADERS, "a=b")]), SinkUse::IfNamed);
    assert_eq!(usable(&[endpoint]), SinkUse::Configured);
    for (exporters, expected) in [
        ("otlp", SinkUse::Configured),
        ("console, otlp", SinkUse::Configured),
        ("none", SinkUse::IfNamed),
        ("prometheus", SinkUse::IfNamed),
    ] {
        assert_eq!(usable(&[endpoint, ("OTEL_METRICS_EXPORTER", exporters)]), expected);
    }
    assert_eq!(usable(&[endpoint, ("OTEL_SDK_DISABLED", "True")]), SinkUse::IfNamed);
}

/// The variables with a warning.
fn warned(vars: Vars<'_>) -> Vec<&'static str> {
    let mut names = Vec::new();
    Otlp::check(&|name| value(vars, name), &mut |warning: Warning| names.push(warning.name()));
    names
}

#[test]
fn what_will_not_do_what_the_user_expects_is_told() {
    assert_eq!(warned(&[(ENDPOINT, "http://a"), (HEADERS, "")]), [""; 0]);
    let key = (HEADERS, "api-key=k");
    assert_eq!(warned(&[(ENDPOINT, "http://127.0.0.1:4318"), key]), [""; 0]);
    assert_eq!(warned(&[(ENDPOINT, "https://a"), key]), [""; 0]);
    assert_eq!(warned(&[(ENDPOINT, "http://a"), key]), [ENDPOINT]);
    assert_eq!(warned(&[(PROTOCOL, "http/json")]), [PROTOCOL]);
    for name in ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY"] {
        assert_eq!(warned(&[(name, "gzip")]), [name]);
    }
    assert_eq!(warned(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]), [""; 0]);
    assert_eq!(warned(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]), ["OTEL_EXPORTER_OTLP_TIMEOUT"]);
}

#[test]
fn a_timeout_is_a_number_of_milliseconds() {
    let timeout = |text| {
        let vars = [("OTEL_EXPORTER_OTLP_TIMEOUT", text)];
        Otlp::request(&|name| value(&vars, name)).expect("usable").expect("a request").timeout
    };
    assert_eq!(timeout("250"), Some(Duration::from_millis(250)));
    // The child uses the default, and the agent warns.
    assert_eq!(["", "0", "-1", "10s"].map(timeout), [None; 4]);
}

/// The settings, and the variables with a warning.
fn settings(vars: Vars<'_>, is_used: bool) -> (OtlpSettings, Vec<&'static str>) {
    let mut names = Vec::new();
    let mut warn = |warning: Warning| names.push(warning.name());
    let settings = OtlpSettings::from_vars(&|name| value(vars, name), is_used, &mut warn);
    (settings, names)
}

#[test]
fn attributes_that_do_not_fit_are_left_out() {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let (settings_of, names) = settings(&[(name, "a=b,team=r%C3%A9seau")], true);
    assert_eq!(settings_of.resource_attributes, "a=b,team=r%C3%A9seau");
    assert_eq!(names, [""; 0]);
    let long = format!("a={},b={},c=d", "x".repeat(900), "y".repeat(200));
    for (is_used, expected) in [(true, &[name][..]), (false, &[])] {
        let (settings, names) = settings(&[(name, &long)], is_used);
        assert_eq!(settings.resource_attributes, format!("a={},c=d", "x".repeat(900)));
        assert_eq!(names, expected);
    }
    let (wrong, names) = settings(&[(name, "a=%ff,b=c")], true);
    assert_eq!((wrong.resource_attributes.as_str(), names), ("", vec![name]));
}

#[test]
fn temporality_is_delta_unless_the_user_asks_for_sums() {
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    for (text, is_cumulative, warned) in [
        ("", false, &[][..]),
        ("delta", false, &[]),
        ("LowMemory", false, &[]),
        ("Cumulative", true, &[]),
        ("both", false, &[name]),
    ] {
        let (settings, names) = settings(&[(name, text)], true);
        assert_eq!((settings.is_cumulative, names.as_slice()), (is_cumulative, warned), "{text}");
    }
    let (named, names) = settings(&[("OTEL_SERVICE_NAME", &"x".repeat(201))], true);
    assert_eq!((named.service_name.as_str(), names), ("", vec!["OTEL_SERVICE_NAME"]));
}

#[test]
fn an_answer_tells_whether_the_receiver_has_the_points() {
    let result_of = |status, body| Otlp::result_of(&Answer { status, body });
    for (status, expected) in [
        (301, SendResult::Refused),
        (400, SendResult::Refused),
        (401, SendResult::Refused),
        (408, SendResult::Refused),
        (429, SendResult::NotTaken),
        (500, SendResult::Refused),
        (502, SendResult::NotTaken),
        (503, SendResult::NotTaken),
        (504, SendResult::NotTaken),
    ] {
        assert_eq!(result_of(status, b""), (expected, format!("it answered {status}")));
    }
    assert_eq!(result_of(200, b""), (SendResult::Taken, String::new()));
    assert_eq!(result_of(200, b"{}"), (SendResult::Taken, String::new()));
    // google.rpc.Status
    let text = "it answered 400: no delta".to_owned();
    assert_eq!(result_of(400, b"\x08\x03\x12\x09no\n delta"), (SendResult::Refused, text));
    // ExportMetricsServiceResponse.partial_success
    let text = "it rejected 2 data points: late".to_owned();
    assert_eq!(result_of(200, b"\x0a\x08\x08\x02\x12\x04late"), (SendResult::Refused, text));
    let text = "late".to_owned();
    assert_eq!(result_of(200, b"\x0a\x06\x12\x04late"), (SendResult::Taken, text));
}

#[test]
fn an_environment_is_sixteen_digits() {
    assert_eq!(hex(0, &mut [0; 16]), "");
    assert_eq!(hex(0x01ab, &mut [0; 16]), "00000000000001ab");
}
