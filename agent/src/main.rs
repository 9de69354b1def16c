//! `oom-witness`: an AWS Lambda extension that reports out-of-memory invocations exactly once.
//!
//! In: the environment, and Lambda's local APIs. Out: one metric for each out-of-memory attempt.
//! This file only wires the modules, in the order in which things happen. No module imports from
//! it.

// The program begins with C's `main`: `sys::start` says why.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code))]
// Network sinks share code, and some of it serves only one of them.
#![cfg_attr(
    all(feature = "network", not(all(feature = "datadog", feature = "otlp"))),
    allow(dead_code)
)]

use std::env;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::{error, info, warn};
use oom_witness_core::extensions::Registration;
use oom_witness_core::{Detector, METRIC_NAME};

use crate::config::{Config, Warnings};
use crate::delivery::outbox::Outbox;
use crate::delivery::sink::{Sink, SinkContext};
use crate::error::{FAILURE, USAGE};
use crate::event_loop::{EventLoop, Schedule};
use crate::help::Help;
use crate::journal::{Facts, Journal};
use crate::kernel::KernelCounter;
use crate::lambda::extensions_api::ExtensionsApi;
use crate::lambda::telemetry_api::{SubscribeResult, Telemetry};

mod check;
#[cfg(feature = "network")]
mod child;
mod clock;
mod config;
mod delivery;
mod error;
mod event_loop;
mod help;
mod journal;
mod kernel;
mod lambda;
mod logger;
mod sys;
mod variable;

#[cfg(not(any(test, fuzzing)))]
sys::start::program!(run);

/// Everything that lives as long as the process. It is static and not on the stack, since a page of
/// static memory costs nothing before it is written.
static PARTS: Mutex<Parts> = Mutex::new(Parts {
    setup: Setup { config: None, registration: None },
    kernel: KernelCounter::none(),
    outbox: Outbox::new(),
    journal: Journal::none(),
    telemetry: Telemetry::new(),
    api: ExtensionsApi::new(),
});

/// The one detector, apart from the other parts: it is all zeros at first, and so not in the file.
static DETECTOR: PageAligned<Mutex<heapless::Vec<Detector, 1>>> =
    PageAligned(Mutex::new(heapless::Vec::new()));

/// Begins with a page of its own. So a detector of one invocation at a time uses only two pages.
#[repr(align(4096))]
struct PageAligned<T>(T);

/// The order is that of use, so that what is used lies side by side.
#[repr(C)]
struct Parts {
    setup: Setup,
    kernel: KernelCounter,
    outbox: Outbox,
    journal: Journal,
    telemetry: Telemetry,
    api: ExtensionsApi,
}

/// Which function the agent watches, and how.
struct Setup {
    config: Option<Config>,
    registration: Option<Registration>,
}

/// The whole program: arguments in, exit code out. An argument that is missing is empty.
fn run(arguments: [&'static str; sys::ARGUMENTS_MAX]) -> u8 {
    match arguments {
        [program, "", ..] => run_extension(program),
        #[cfg(feature = "network")]
        [_, "send", sink, again] if !sink.is_empty() => child::run(sink, !again.is_empty()),
        [_, "--check", "", ..] => check::run(false),
        [_, "--check", "--send", ""] => check::run(true),
        [_, "--version" | "-V", ..] => {
            println!("oom-witness {VERSION}");
            0
        }
        [_, "--help" | "-h", ..] => {
            print!("{Help}");
            0
        }
        _ => {
            eprint!("oom-witness: there is no such command.\n\n{Help}");
            USAGE
        }
    }
}

fn run_extension(program: &str) -> u8 {
    let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut detector = DETECTOR.0.lock().unwrap_or_else(PoisonError::into_inner);
    match start(program, &mut parts, &mut detector) {
        Ok(event_loop) => event_loop.run(),
        Err(code) => code,
    }
}

/// Does everything until the loop can run. An exit code says that it cannot.
// A frame of its own, so that the loop uses its stack pages again.
#[inline(never)]
fn start<'a>(
    program: &str,
    parts: &'a mut Parts,
    detector: &'a mut heapless::Vec<Detector, 1>,
) -> Result<EventLoop<'a>, u8> {
    let Parts { api: extensions_api, telemetry, outbox, journal, kernel, setup } = parts;
    sys::set_start_apart();
    let Setup { config, registration } = setup;
    let config = configure(config);
    let Some(api) = &config.runtime_api else {
        eprint!("{OUTSIDE}");
        return Err(USAGE);
    };
    sys::close_stdin();
    sys::keep_child_statuses();
    outbox.set_sinks(config.sinks);
    outbox.set_key_sinks(config.key_sinks);
    // There is room: it is the only one.
    let _ = detector.push(Detector::new(config.settings()));
    let Some(detector) = detector.first_mut() else { return Err(FAILURE) };
    let before = restore(config, journal, detector, outbox);
    *kernel = open_kernel(config, before);
    if let Some(facts) = before {
        telemetry.take_over(facts.token, facts.is_in_doubt);
    }
    let port = listen(telemetry, config, before);
    let registration = match extensions_api.register(api, extension_name(program)) {
        Ok(registered) => &*registration.insert(registered),
        Err(error) => {
            error!("{error}");
            return Err(FAILURE);
        }
    };
    if port != 0 {
        subscribe(extensions_api, config, port, &telemetry.path());
    }
    let token = telemetry.token();
    info!("{VERSION} watches {}, telemetry on port {port}", registration.function_name());
    if let Err(error) = extensions_api.client.stop_blocking() {
        warn!("connecting to the Extensions API again: {error}");
    }
    telemetry.make_room();
    Ok(EventLoop {
        api: extensions_api,
        telemetry,
        detector,
        outbox,
        journal,
        facts: Facts {
            port,
            kills: kernel.count(),
            token,
            is_in_doubt: before.is_some_and(|facts| facts.is_in_doubt),
            is_running: true,
        },
        ended_ms: None,
        invoked_ms: 0,
        looked_ms: 0,
        kernel,
        context: SinkContext {
            source: config.source(registration.account_id()),
            settings: &config.sink_settings,
        },
        start_ms: clock::now_ms(),
        // On Managed Instances nothing is frozen, and there are no turns.
        schedule: Schedule::new(!config.is_managed_instances(), Instant::now()),
        sending: None,
    })
}

/// Restores what a previous process has saved: verdicts, evidence and unsent detections. Returns
/// the other facts, if there was such a process.
fn restore(
    config: &Config,
    journal: &mut Journal,
    detector: &mut Detector,
    outbox: &mut Outbox,
) -> Option<Facts> {
    journal.open(&config.state);
    let facts = journal.facts()?;
    if !detector.restore(journal.snapshot(), clock::now_ms()) {
        warn!("the journal is of another version: the attempts in it are lost");
    }
    for waiting in journal.waiting() {
        outbox.restore(waiting);
    }
    outbox.warn_unknown();
    if facts.is_running {
        warn!("the previous process was killed in this environment, perhaps for its memory");
    }
    Some(facts)
}

/// Binds the port of the previous process, as Lambda may still post there; else the port that the
/// user wants; else the next free one. Returns 0 if there is none.
fn listen(telemetry: &mut Telemetry, config: &Config, before: Option<Facts>) -> u16 {
    let before = before.map(|facts| facts.port).filter(|port| *port != 0);
    let wanted = before.unwrap_or(config.port);
    match telemetry.listen(wanted) {
        Ok(port) => {
            if port != wanted {
                warn!("cannot listen for telemetry on port {wanted}, using {port}");
            }
            port
        }
        Err(error) => {
            warn!("cannot listen for telemetry, nothing will be detected: {error}");
            0
        }
    }
}

fn open_kernel(config: &Config, before: Option<Facts>) -> KernelCounter {
    // The counter of a machine that runs several environments is not ours alone.
    let own_machine = config.has_own_machine();
    KernelCounter::open(
        config.cgroup.as_deref(),
        config.vmstat.as_deref().filter(|_| own_machine),
        before.and_then(|facts| facts.kills),
    )
}

fn subscribe(extensions_api: &mut ExtensionsApi, config: &Config, port: u16, path: &str) {
    let host = config.runtime_api.as_deref().unwrap_or_default();
    let identifier = extensions_api.identifier().to_owned();
    let client = &mut extensions_api.client;
    match lambda::telemetry_api::subscribe(client, host, &identifier, port, path, config.logs) {
        SubscribeResult::Made => {}
        SubscribeResult::NotSupported => {
            warn!("there is no Telemetry API here: nothing will be detected");
        }
        SubscribeResult::Refused(status) => {
            warn!("the Telemetry API answered {status}: nothing will be detected");
        }
        SubscribeResult::Unanswered => {
            warn!(
                "the Telemetry API did not answer in time: nothing will be detected, unless \
                 telemetry arrives all the same"
            );
        }
    }
}

/// Reads the variables, and logs what the user should know about them.
#[cold]
#[inline(never)]
fn configure(config: &mut Option<Config>) -> &Config {
    let mut warnings = Warnings::new();
    let get = |name: &str| env::var_os(name);
    let config = config.insert(Config::from_vars(&get, &Path::exists, &mut warnings));
    if config.runtime_api.is_none() {
        return config;
    }
    logger::start(config.level);
    for warning in &warnings {
        warn!("{warning}");
    }
    if let Some(sink) = config.left_to_other {
        let name = sink.name();
        let instead = config.sinks.iter().next().map(Sink::name).unwrap_or_default();
        info!(
            "{name}'s own extension is here and counts {METRIC_NAME} itself: nothing is sent to \
             {name}, metrics go to {instead}; OOM_WITNESS_SINKS={name} changes that"
        );
    }
    config
}

/// The program's file name, by which Lambda knows the extension.
fn extension_name(program: &str) -> &str {
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())).unwrap_or("oom-witness")
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const OUTSIDE: &str = "\
oom-witness is an AWS Lambda extension: Lambda starts it, from /opt/extensions.
AWS_LAMBDA_RUNTIME_API is not set, so this is not Lambda.

To see it at work here, beside a function that the kernel kills:
    cargo run --release -p integration-tests
";
