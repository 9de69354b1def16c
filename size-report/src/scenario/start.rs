//! How long the extension takes to register, and to ask for its first event.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sandbox::{Environment, Function, ShutdownReason};

use super::{Plan, start_environment};
use crate::figure::{self, Scenario};
use crate::report::Report;

/// One start with a function, and one without.
///
/// The sandbox tells its steps: it starts the runtime in the moment when every extension has
/// registered. Without a function its init is over when every extension has asked for an event.
pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    let builder = Environment::builder().extension(plan.extension()).on_step(move |step| {
        let now = Instant::now();
        told.lock().unwrap_or_else(PoisonError::into_inner).push((step.to_string(), now));
    });
    start_environment(builder)?.shutdown(ShutdownReason::Spindown)?;
    let steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
    let at =
        |start: &str| steps.iter().find(|(step, _)| step.starts_with(start)).map(|step| step.1);
    if let (Some(begun), Some(registered)) = (at("starting extension"), at("starting the runtime"))
    {
        let micros = registered.duration_since(begun).as_micros();
        report.add(Scenario::Start, figure::REGISTER, i64::try_from(micros).unwrap_or(i64::MAX));
    }
    let builder = Environment::builder().extension(plan.extension()).function(Function::Synthetic);
    let mut environment = start_environment(builder)?;
    let micros = environment.init().duration.as_micros();
    report.add(Scenario::Start, figure::NEXT, i64::try_from(micros).unwrap_or(i64::MAX));
    environment.shutdown(ShutdownReason::Spindown)?;
    Ok(())
}
