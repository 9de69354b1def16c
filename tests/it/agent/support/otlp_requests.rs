//! The OTLP requests that an intake has taken, as the official schema decodes them.

use oom_witness_core::METRIC_NAME;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, ResourceMetrics};
use prost::Message;
use sandbox::Intake;

/// The resources in all requests that were taken (2xx).
pub(in crate::agent) fn otlp_resources(intake: &Intake) -> Vec<ResourceMetrics> {
    let requests = intake.requests();
    let taken = requests.iter().filter(|request| (200..300).contains(&request.status));
    taken
        .flat_map(|request| {
            let request = ExportMetricsServiceRequest::decode(request.body.as_slice());
            request.expect("an OTLP request").resource_metrics
        })
        .collect()
}

/// The points of the metric in all requests that were taken.
pub(in crate::agent) fn otlp_points(intake: &Intake) -> Vec<NumberDataPoint> {
    let resources = otlp_resources(intake).into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics);
    let ours = metrics.filter(|metric| metric.name == METRIC_NAME);
    let sums = ours.filter_map(|metric| match metric.data {
        Some(Data::Sum(sum)) => Some(sum.data_points),
        _ => None,
    });
    sums.flatten().collect()
}

/// A point's value.
pub(in crate::agent) fn value(point: &NumberDataPoint) -> i64 {
    let Some(Value::AsInt(value)) = point.value else { panic!("{point:?}") };
    value
}

/// The sum of the values of all delta points that were taken.
pub(in crate::agent) fn otlp_count(intake: &Intake) -> f64 {
    let sum: i64 = otlp_points(intake).iter().map(value).sum();
    f64::from(i32::try_from(sum).expect("a small count"))
}
