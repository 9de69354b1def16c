//! An extension on AWS's `lambda-extension` crate that reports out-of-memory invocations.
//!
//! In: events that the crate has read. Out: one EMF line for each detection. A program with events
//! of its own must write what `event.rs` has. `state.rs` keeps a kill from being counted again
//! after Lambda has restarted the extension.
//!
//! ```sh
//! (cd core/examples/lambda-extension && cargo build --target-dir /tmp/example)
//! cargo run -p integration-tests -- \
//!     run builtin --extension /tmp/example/debug/oom-witness-core-lambda-extension
//! ```
//!
//! It saves before it prints, so a kill in between loses a line and repeats none.
//!
//! The crate refuses a whole telemetry body if it does not know one of its events:
//! `platform.fault`, those of SnapStart, and the init of Managed Instances. If you have the bytes,
//! feed them to [`Witness::feed`] instead.

mod event;
mod state;

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_extension::{Error, Extension, LambdaEvent, NextEvent, SharedService, service_fn};
use oom_witness_core::{Detection, Metric, Settings, ShutdownReason, Source, Witness, format};

use event::{Telemetry, event};

/// Where it listens for telemetry, unless `OOM_WITNESS_PORT` names another port.
const PORT: u16 = 9003;

static WITNESS: Mutex<Witness> = Mutex::new(Witness::new(Settings::DEFAULT));

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let port = env::var("OOM_WITNESS_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(PORT);
    state::restore(witness().detector_mut(), now_ms());
    Extension::new()
        .with_events_processor(service_fn(on_event))
        .with_telemetry_record_type::<serde_json::Value>()
        .with_telemetry_port_number(port)
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_processor(SharedService::new(service_fn(on_telemetry)))
        .run()
        .await
}

async fn on_telemetry(events: Vec<Telemetry>) -> Result<(), Error> {
    let (mut witness, mut found) = (witness(), Vec::new());
    for event in events.iter().filter_map(event) {
        witness.observe(&event, now_ms(), &mut |detection| found.push(*detection));
    }
    state::save(witness.detector());
    found.iter().for_each(print);
    Ok(())
}

/// SHUTDOWN often comes before the telemetry of the last invocation.
async fn on_event(event: LambdaEvent) -> Result<(), Error> {
    let NextEvent::Shutdown(event) = event.next else { return Ok(()) };
    let reason = ShutdownReason::parse(&event.shutdown_reason);
    while !witness().detector().is_settled(reason) && now_ms() + 500 < event.deadline_ms {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (mut witness, mut found) = (witness(), Vec::new());
    witness.shutdown(reason, &mut |detection| found.push(*detection));
    state::save(witness.detector());
    found.iter().for_each(print);
    // The crate's loop does not end at SHUTDOWN.
    std::process::exit(0);
}

fn witness() -> MutexGuard<'static, Witness> {
    WITNESS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn print(detection: &Detection) {
    let function_name = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let source = Source { function_name: &function_name, ..Source::default() };
    let mut line = [0; format::DOCUMENT_SIZE];
    match format::emf::write(&Metric::new(detection, &source), "OomWitness", &mut line) {
        Ok(length) => println!("{}", String::from_utf8_lossy(&line[..length])),
        Err(error) => eprintln!("a detection is lost: {error}"),
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
