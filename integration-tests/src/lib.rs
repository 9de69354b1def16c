//! A local Lambda execution environment with a real memory cgroup and real out-of-memory kills.
//!
//! An [`Environment`] serves the Runtime, Extensions and Telemetry APIs on one loopback address,
//! starts an extension and a function together in one cgroup, and lets the kernel kill. It never
//! fakes a kill, shares no code with the agent or its core, and leaves nothing behind.
//!
//! ```no_run
//! use sandbox::{Behavior, Environment, Extension, Memory, ShutdownReason, Work, place};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut environment = Environment::builder()
//!     .memory(Memory::Limited(place()?))
//!     .memory_mb(128)
//!     .extension(Extension::new("target/release/oom-witness"))
//!     .start()?;
//! let outcome = environment.invoke(&Work::new(Behavior::Grow).payload())?;
//! assert!(outcome.function_killed());
//! environment.shutdown(ShutdownReason::Spindown)?;
//! # Ok(())
//! # }
//! ```

mod api;
mod cargo;
mod certificate;
mod cgroup;
pub mod cli;
mod clock;
mod count;
mod env;
mod fault;
mod folder;
mod helper;
mod http_server;
mod identity;
mod intake;
mod key_services;
mod logger;
mod mounts;
mod outcome;
mod owner;
mod procfs;
mod program;
mod quiet;
mod receiver;
mod recording;
mod runtimes;
mod scenario;
mod score;
mod state;
mod switches;
mod sync;
mod telemetry;
mod work;

pub use crate::procfs::{ProcStatus, alive};
pub use cargo::{build_agent, cargo, workspace};
pub use cgroup::{Place, Version, clean_leftovers, place};
#[doc(hidden)]
pub use cli::{clean_at_the_end, machine::foreign_path, require_all, table::table};
pub use count::{EmfLine, METRIC, count_emf, emf_lines};
pub use env::{
    Builder, Environment, Extension, Function, FunctionCommand, Line, Memory, OutputStream,
    ShutdownOutcome, ShutdownReason, StartTimes,
};
pub use fault::{ApiCall, ApiFault};
pub use helper::{binary, run_if_asked};
pub use identity::InitializationType;
pub use intake::{Intake, IntakeAnswer, IntakeRequest};
pub use key_services::{KeyPlace, KeyServices};
pub use logger::log_to_stderr;
pub use outcome::{InitOutcome, InvocationOutcome, RuntimeAnswer, Status, Victim};
pub use quiet::QuietInvocations;
pub use receiver::{Collector, Point, StatsdServer};
pub use recording::RecordingLine;
pub use runtimes::Runtime;
pub use scenario::Scenario;
pub use score::Score;
pub use switches::{
    LateReport, MemoryAfterKill, RuntimeDone, ShutdownFlush, SuppressedInit, Switches,
};
pub use telemetry::{LogFormat, TelemetryPost};
pub use work::{Behavior, Work};
