//! Where Datadog's variables lead, and what its intake's statuses mean.

use super::{Answer, Datadog, Requests};
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::SinkRequest;

#[track_caller]
fn check(vars: &[(&str, &str)], expected: Result<Option<&str>, &str>) {
    let get = |name: &str| {
        vars.iter().find(|(var, _)| *var == name).map(|(_, value)| std::ffi::OsString::from(value))
    };
    let found = Datadog::request(&get);
    let found = match &found {
        Ok(request) => Ok(request.as_ref().map(|request| request.url.as_str())),
        Err(invalid) => Err(invalid.name),
    };
    assert_eq!(found, expected);
}

#[test]
fn a_key_with_a_site_or_an_address_leads_to_the_intake() {
    let key = ("DD_API_KEY", "k");
    let default = "https://api.datadoghq.com/api/v1/distribution_points";
    check(&[], Err("DD_API_KEY"));
    check(&[("DD_API_KEY", " ")], Err("DD_API_KEY"));
    check(&[key], Ok(Some(default)));
    let eu = "https://api.datadoghq.eu/api/v1/distribution_points";
    check(&[key, ("DD_SITE", "datadoghq.eu")], Ok(Some(eu)));
    let local = "http://127.0.0.1:8080/api/v1/distribution_points";
    check(&[key, ("DD_URL", "http://127.0.0.1:8080/")], Ok(Some(local)));
    check(&[key, ("DD_DD_URL", "http://127.0.0.1:8080"), ("DD_URL", "https://x")], Ok(Some(local)));
}

#[test]
fn a_variable_that_cannot_be_used_is_named() {
    let key = ("DD_API_KEY", "k");
    check(&[("DD_API_KEY", "a\nb")], Err("DD_API_KEY"));
    check(&[key, ("DD_SITE", "a/b")], Err("DD_SITE"));
    for url in ["ftp://x", "http://", "x", "http://x/path", "http://u:p@x", "http://x?y"] {
        check(&[key, ("DD_URL", url)], Err("DD_URL"));
    }
}

#[test]
fn a_request_knows_the_host_of_its_address() {
    for (url, host) in [
        ("https://api.datadoghq.com", "api.datadoghq.com"),
        ("http://127.0.0.1:8080/", "127.0.0.1"),
        ("http://[::1]:8080", "[::1]"),
        ("http://[::1]", "[::1]"),
    ] {
        let get = |name: &str| match name {
            "DD_API_KEY" => Some("k".into()),
            "DD_URL" => Some(url.into()),
            _ => None,
        };
        let request = Datadog::request(&get).unwrap().unwrap();
        assert_eq!(SinkRequest::host(&request.url), host);
    }
}

#[test]
fn the_key_is_a_header() {
    let get = |name: &str| (name == "DD_API_KEY").then(|| " k ".into());
    let request = Datadog::request(&get).unwrap().unwrap();
    let headers = [("Content-Type", "application/json"), ("DD-API-KEY", "k")];
    assert_eq!(request.headers, headers.map(|(name, value)| (name.into(), value.into())));
}

#[test]
fn a_status_tells_whether_the_intake_has_the_points() {
    for (status, expected) in [
        (200, SendResult::Taken),
        (202, SendResult::Taken),
        (301, SendResult::Refused),
        (400, SendResult::Refused),
        (403, SendResult::Refused),
        (408, SendResult::NotTaken),
        (413, SendResult::Refused),
        (429, SendResult::NotTaken),
        (500, SendResult::NotTaken),
        (502, SendResult::Unknown),
        (503, SendResult::NotTaken),
        (504, SendResult::Unknown),
    ] {
        let (result, text) = Datadog::result_of(&Answer { status, body: b"" });
        assert_eq!(result, expected, "{status}");
        assert_eq!(text.is_empty(), result == SendResult::Taken, "{text}");
    }
}
