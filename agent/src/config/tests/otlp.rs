//! When detections go to an OTLP receiver.

use super::{check, config};

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
