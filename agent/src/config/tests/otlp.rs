//! When detections go to an OTLP receiver.

use super::{Sink, check, config, warning};

#[test]
fn an_endpoint_configures_otlp() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    check(&[endpoint], &["otlp"], &[]);
    check(&[endpoint, ("OOM_WITNESS_SINKS", "emf")], &["emf"], &[]);
    check(&[endpoint, ("OTEL_METRICS_EXPORTER", "none")], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "otlp")], &["otlp"], &[]);
    check(&[("OTEL_SERVICE_NAME", "images")], &["emf"], &[]);
}

/// Metrics go where they surely arrive, and a line says why.
#[test]
fn an_endpoint_for_grpc_is_told() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
    check(&[endpoint, (name, "grpc")], &["emf"], &[name]);
    check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x:4317")], &["emf"], &[endpoint.0]);
}

#[test]
fn settings_are_kept() {
    let config = config(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=images"),
        ("OTEL_SERVICE_NAME", "resize"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
    ]);
    let otlp = &config.sink_settings.otlp;
    assert!(otlp.is_cumulative);
    assert_eq!((&*otlp.resource_attributes, &*otlp.service_name), ("team=images", "resize"));
}

#[test]
fn a_secret_with_headers_is_fetched() {
    let name = "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN";
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example");
    let fetches = |vars: &[(&str, &str)]| config(vars).key_sinks.contains(Sink::Otlp);
    for place in [
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:headers",
        "arn:aws:ssm:eu-west-1:123456789012:parameter/headers",
    ] {
        check(&[endpoint, (name, place)], &["otlp"], &[]);
        check(&[(name, place)], &["emf"], &[]);
        assert!(fetches(&[endpoint, (name, place)]));
        // Others could read the headers.
        let exposed = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example");
        check(&[exposed, (name, place)], &["otlp"], &[exposed.0]);
        let aws = ("AWS_ENDPOINT_URL", "nonsense");
        check(&[endpoint, (name, place), aws], &["otlp"], &[aws.0]);
    }
    assert!(!fetches(&[endpoint]));
}

/// A request without the headers would be refused, so the metric goes where it surely arrives.
#[test]
fn a_secret_that_makes_no_sense_is_one_warning() {
    let name = "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN";
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example");
    for place in ["the-key", "api-key=k", "arn:aws:kms:eu-west-1:123456789012:key/k", "Y2lw"] {
        assert_eq!(
            warning(&[endpoint, (name, place)]),
            "OOM_WITNESS_OTLP_HEADERS_SECRET_ARN is not used: it takes the ARN of a secret in \
             Secrets Manager, or of a parameter in SSM; its sink is not used"
        );
        check(&[endpoint, (name, place)], &["emf"], &[name]);
    }
}
