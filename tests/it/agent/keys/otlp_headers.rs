//! Headers of OTLP requests that are in a secret.

use sandbox::{Intake, KeyPlace};

use super::key_server::{KeyServer, Reply};
use super::{SECRET_ARN, assert_no_secret, aws, received_header, services};
use crate::agent::child::{ChildVerdict, send_otlp};
use crate::agent::support::bodies::oom_body;
use crate::agent::support::otlp_requests::{otlp_points, value};
use crate::agent::support::script::Script;

const VARIABLE: &str = "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN";

#[test]
fn the_services_give_out_headers_to_a_role_that_may_have_them() {
    const TEXTS: [(KeyPlace, &str); 3] = [
        (KeyPlace::Secret, "api-key=se%20cret,x-scope=a%2Cb\n"),
        (KeyPlace::Parameter, "api-key=key-of-ssm"),
        (KeyPlace::Secret, "key-of-secret"),
    ];
    let Some(services) = services(&TEXTS) else { return };
    let [headers, parameter, no_headers] = [0, 1, 2].map(|number| services.place(number));
    let receiver = Intake::start().expect("an intake");
    let run = |role: [(&str, &str); 3], place: &str| {
        let variables = [&aws(services.url())[..], &role, &[(VARIABLE, place)]].concat();
        send_otlp(&receiver.http_url(), &variables)
    };
    run(services.permitted(), headers).assert_verdict(ChildVerdict::Taken, "");
    for (name, value) in [("api-key", "se cret"), ("x-scope", "a,b")] {
        assert_eq!(received_header(&receiver, name), value);
    }
    run(services.permitted(), parameter).assert_verdict(ChildVerdict::Taken, "");
    assert_eq!(received_header(&receiver, "api-key"), "key-of-ssm");

    let count = receiver.requests().len();
    let no_headers = run(services.permitted(), no_headers);
    no_headers.assert_verdict(
        ChildVerdict::NotTaken,
        "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN leads to a text that is not name=value pairs",
    );
    assert!(!no_headers.stderr.contains("key-of-secret"), "{}", no_headers.stderr);
    for (place, permission) in
        [(headers, "secretsmanager:GetSecretValue"), (parameter, "ssm:GetParameter")]
    {
        let denied = format!("the function's role needs {permission} on {place}");
        run(services.denied(), place).assert_verdict(ChildVerdict::NotTaken, &denied);
    }
    assert_eq!(receiver.requests().len(), count, "the receiver got a request without headers");
}

/// A header of the secret replaces one of the same name. The others stay.
#[test]
fn headers_of_a_secret_come_before_those_of_variables() {
    let server =
        KeyServer::start(|_| Reply::ok(r#"{"SecretString":"Api-Key=the-fetched-key,b=2"}"#));
    let receiver = Intake::start().expect("an intake");
    let own = [("OTEL_EXPORTER_OTLP_HEADERS", "api-key=old,tenant=t"), (VARIABLE, SECRET_ARN)];
    let run = send_otlp(&receiver.http_url(), &[&aws(&server.url)[..], &own].concat());
    run.assert_verdict(ChildVerdict::Taken, "");
    for (name, value) in [
        ("api-key", "the-fetched-key"),
        ("b", "2"),
        ("tenant", "t"),
        ("content-type", "application/x-protobuf"),
    ] {
        assert_eq!(received_header(&receiver, name), value);
    }
}

/// Nothing goes out without the headers, and no line shows the secret.
#[test]
fn a_secret_that_is_no_list_of_headers_is_a_failed_send() {
    for secret in [
        "",
        "the-fetched-key",
        "api-key=the-fetched-key,",
        "api-key=%zzthe-fetched-key",
        "api-key=the-fetched-key%0d%0aevil: 1",
        "content-length=the-fetched-key",
        r#"{\"api-key\":\"the-fetched-key\"}"#,
    ] {
        let server =
            KeyServer::start(move |_| Reply::ok(&format!(r#"{{"SecretString":"{secret}"}}"#)));
        let receiver = Intake::start().expect("an intake");
        let variables = [&aws(&server.url)[..], &[(VARIABLE, SECRET_ARN)]].concat();
        let run = send_otlp(&receiver.http_url(), &variables);
        run.assert_verdict(ChildVerdict::NotTaken, "leads to a text that is not name=value pairs");
        assert_no_secret(&[run.stdout, run.stderr].concat());
        assert!(receiver.requests().is_empty(), "{secret}");
    }
}

#[test]
fn a_metric_waits_for_its_headers() {
    let server = KeyServer::start_after_silences(1, |_| {
        Reply::ok(r#"{"SecretString":"api-key=the-fetched-key"}"#)
    });
    let receiver = Intake::start().expect("an intake");
    let url = receiver.http_url();
    let sink = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), (VARIABLE, SECRET_ARN)];
    let mut script = Script::start_ready(&[&aws(&server.url)[..], &sink].concat());
    script.post(oom_body());
    script.invoke();
    assert!(receiver.requests().is_empty());
    script.invoke();
    assert_eq!(otlp_points(&receiver).iter().map(value).collect::<Vec<_>>(), [1]);
    assert_eq!(received_header(&receiver, "api-key"), "the-fetched-key");
    let output = script.end(0);
    assert_no_secret(&output.stderr);
    output
        .assert_once("otlp has not taken a metric yet: secretsmanager GetSecretValue: it has not")
        .assert_once("sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 1");
}
