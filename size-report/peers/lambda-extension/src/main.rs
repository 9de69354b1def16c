//! Counts out-of-memory errors by `errorType`, as the crate's documentation shows an extension.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use lambda_extension::{
    Error, Extension, LambdaEvent, LambdaTelemetry, LambdaTelemetryRecord, NextEvent,
    SharedService, service_fn,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let counted = Arc::new(Mutex::new(HashSet::new()));
    let telemetry = service_fn(move |events: Vec<LambdaTelemetry>| {
        let counted = Arc::clone(&counted);
        async move {
            for event in events {
                if let LambdaTelemetryRecord::PlatformRuntimeDone { request_id, error_type, .. } =
                    event.record
                    && error_type.as_deref() == Some("Runtime.OutOfMemory")
                    && counted.lock().is_ok_and(|mut counted| counted.insert(request_id))
                {
                    println!(
                        r#"{{"_aws":{{"Timestamp":{},"CloudWatchMetrics":[{{"Namespace":"Peer","Dimensions":[[]],"Metrics":[{{"Name":"aws.lambda.enhanced.out_of_memory"}}]}}]}},"aws.lambda.enhanced.out_of_memory":1}}"#,
                        event.time.timestamp_millis()
                    );
                }
            }
            Ok::<(), Error>(())
        }
    });
    // The crate's loop does not end at SHUTDOWN by itself.
    let events = service_fn(|event: LambdaEvent| async move {
        if let NextEvent::Shutdown(_) = event.next {
            std::process::exit(0);
        }
        Ok::<(), Error>(())
    });
    Extension::new()
        .with_events_processor(events)
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_processor(SharedService::new(telemetry))
        .run()
        .await
}
