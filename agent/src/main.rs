//! `oom-witness`: an AWS Lambda extension that reports out-of-memory invocations exactly once.
//!
//! Goes in: the environment, and Lambda's local APIs. Comes out: one metric for each out-of-memory
//! attempt. This file only wires, in the order in which things happen; it never decides.

// C's `main` is in `sys`, with the reason.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code))]

use std::env;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use log::{error, info, warn};
use oom_witness_core::extensions::Registration;
use oom_witness_core::{Detector, METRIC_NAME};

use crate::config::{Config, Warnings};
use crate::delivery::outbox::Outbox;
use crate::event_loop::EventLoop;
use crate::journal::{Facts, Journal};
use crate::kernel::KernelCounter;
use crate::lambda::extensions_api::ExtensionsApi;
use crate::lambda::telemetry_api::{Subscription, Telemetry};

#[cfg(feature = "datadog")]
mod child;
mod config;
mod delivery;
mod error;
mod event_loop;
mod journal;
mod kernel;
mod lambda;
mod logger;
mod sys;
mod variable;

/// Logs a warning the first time only: what repeats is counted, and told in the last line.
#[macro_export]
macro_rules! warn_once {
    ($($message:tt)+) => {{
        static WARNED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        if !WARNED.swap(true, std::sync::atomic::Ordering::Relaxed) {
            log::warn!($($message)+);
        }
    }};
}

/// What lives as long as the process. Among the program's variables, not on the stack: a page of them
/// costs nothing of its own before it is written.
static STATE: Mutex<State> = Mutex::new(State {
    identity: Identity { config: None, registration: None },
    kernel: KernelCounter::none(),
    outbox: Outbox::new(),
    journal: Journal::none(),
    telemetry: Telemetry::new(),
    api: ExtensionsApi::new(),
});

/// Apart from the rest: all zeros until it is made, and so not in the file.
static DETECTOR: DetectorRoom = DetectorRoom(Mutex::new(heapless::Vec::new()));

/// Room for the one detector. Two pages of it are used where invocations come one after the other, if
/// it begins with a page.
#[repr(align(4096))]
struct DetectorRoom(Mutex<heapless::Vec<Detector, 1>>);

/// In this order: what is used lies side by side.
#[repr(C)]
struct State {
    identity: Identity,
    kernel: KernelCounter,
    outbox: Outbox,
    journal: Journal,
    telemetry: Telemetry,
    api: ExtensionsApi,
}

/// Who is watched, and how.
struct Identity {
    config: Option<Config>,
    registration: Option<Registration>,
}

/// The whole program: arguments in, exit code out. A missing argument is empty.
fn run(arguments: [&'static str; sys::ARGUMENTS_MAX]) -> u8 {
    match arguments {
        [program, "", ..] => run_extension(program),
        #[cfg(feature = "datadog")]
        [_, "send", sink, again] if !sink.is_empty() => child::run(sink, !again.is_empty()),
        [_, "--version" | "-V", ..] => {
            println!("oom-witness {VERSION}");
            0
        }
        [_, "--help" | "-h", ..] => {
            print!("{HELP}{HELP_DATADOG}{HELP_END}");
            0
        }
        _ => {
            eprint!("oom-witness: there is no such command.\n\n{HELP}{HELP_DATADOG}{HELP_END}");
            USAGE
        }
    }
}

fn run_extension(program: &str) -> u8 {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut detector = DETECTOR.0.lock().unwrap_or_else(PoisonError::into_inner);
    match start(program, &mut state, &mut detector) {
        Ok(event_loop) => event_loop.run(),
        Err(code) => code,
    }
}

/// Everything until the loop runs; an exit code if it cannot.
// A frame of its own, which is gone when the loop runs: its pages are used again.
#[inline(never)]
fn start<'a>(
    program: &str,
    state: &'a mut State,
    detector: &'a mut heapless::Vec<Detector, 1>,
) -> Result<EventLoop<'a>, u8> {
    let State { api: extensions_api, telemetry, outbox, journal, kernel, identity } = state;
    sys::set_start_apart();
    let Identity { config, registration } = identity;
    let config = configure(config);
    let Some(api) = &config.runtime_api else {
        eprint!("{OUTSIDE}");
        return Err(USAGE);
    };
    sys::close_stdin();
    sys::keep_child_statuses();
    outbox.set_sinks(config.sinks);
    // There is room for it: it is the only one.
    let _ = detector.push(Detector::new(config.settings()));
    let Some(detector) = detector.first_mut() else { return Err(FAILURE) };
    let before = recall(config, journal, detector, outbox);
    *kernel = open_kernel(config, before);
    if let Some(facts) = before {
        telemetry.go_on(facts.token, facts.is_in_doubt);
    }
    let port = listen(telemetry, config, before);
    let registration = match extensions_api.register(api, extension_name(program)) {
        Ok(made) => &*registration.insert(made),
        Err(error) => {
            error!("{error}");
            return Err(FAILURE);
        }
    };
    if port != 0 {
        subscribe(extensions_api, config, port, &telemetry.path());
    }
    let token = telemetry.token();
    info!("{VERSION} watches {}, telemetry on port {port}", registration.function_name);
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
        looked_ms: 0,
        kernel,
        source: config.source(&registration.account_id),
        has_turns: !config.is_managed_instances(),
    })
}

/// Takes up what the process before this one left: verdicts, evidence, unsent detections. Gives the
/// other facts, if there was such a process.
fn recall(
    config: &Config,
    journal: &mut Journal,
    detector: &mut Detector,
    outbox: &mut Outbox,
) -> Option<Facts> {
    journal.open(&config.state);
    let facts = journal.facts()?;
    if !detector.restore(journal.snapshot(), event_loop::now_ms()) {
        warn!("the journal is of another version: what it held of attempts is lost");
    }
    for waiting in journal.waiting() {
        outbox.restore(waiting);
    }
    outbox.warn_unknown();
    if facts.is_running {
        warn!("the process before this one was killed in this environment, perhaps for its memory");
    }
    Some(facts)
}

/// Binds the port of the process before this one, where Lambda may still post to, else the one that
/// the user wants, else the next free one; 0 if there is none.
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
    // One machine may hold many environments: its counter is ours only where it does not.
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
        Subscription::Made => {}
        Subscription::NotSupported => {
            warn!("there is no Telemetry API here: nothing will be detected");
        }
        Subscription::Refused(status) => {
            warn!("the Telemetry API answered {status}: nothing will be detected");
        }
        Subscription::Unanswered => {
            warn!(
                "the Telemetry API did not answer in time: nothing will be detected, unless \
                 telemetry comes all the same"
            );
        }
    }
}

/// Reads the variables, and says what the user should know about them.
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
    if let Some(sink) = config.left_to_other.filter(|_| cfg!(feature = "datadog")) {
        let name = sink.name();
        info!(
            "{name}'s own extension is here and counts {METRIC_NAME} itself: nothing is sent to \
             {name}, metrics go to emf; OOM_WITNESS_SINKS={name} changes that"
        );
    }
    config
}

/// The file's own name, by which Lambda knows us.
fn extension_name(program: &str) -> &str {
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())).unwrap_or("oom-witness")
}

/// The exit code when the Extensions API does not take us, or says that all is lost.
const FAILURE: u8 = 1;

/// The exit code for a wrong use of the command line, also outside of Lambda.
const USAGE: u8 = 2;

const VERSION: &str = env!("CARGO_PKG_VERSION");

const OUTSIDE: &str = "\
oom-witness is an AWS Lambda extension: Lambda starts it, from /opt/extensions.
AWS_LAMBDA_RUNTIME_API is not set, so this is not Lambda.

To see it at work here, beside a function that the kernel kills:
    cargo run --release -p integration-tests
";

const HELP: &str = "\
oom-witness reports when an AWS Lambda function runs out of memory, and counts it exactly once.

Usage:
    oom-witness               run as an extension; Lambda does this
    oom-witness send SINK     send one metric from stdin; the extension does this
    oom-witness --version
    oom-witness --help

Variables:
    OOM_WITNESS_SINKS         emf, datadog; unset: what is configured, else emf
    OOM_WITNESS_SUSPECTED     count (default), once or ignore
    OOM_WITNESS_NAMESPACE     of the emf metric; OomWitness by default
    OOM_WITNESS_LOGS          off: do not read the function's log lines
    OOM_WITNESS_LOG           off, error, warn, info (default): our own lines
    OOM_WITNESS_PORT          for telemetry; 6161 by default; not 9001
    OOM_WITNESS_STATE         what survives a restart; /tmp/oom-witness by default
    OOM_WITNESS_CGROUP        in place of /sys/fs/cgroup, or off
    OOM_WITNESS_VMSTAT        in place of /proc/vmstat, or off
";

#[cfg(feature = "datadog")]
const HELP_DATADOG: &str = "\
    OOM_WITNESS_EXTENSIONS    in place of /opt/extensions, or off
    DD_API_KEY, DD_SITE, DD_DD_URL, DD_URL, DD_TAGS, DD_ENV, DD_SERVICE, DD_VERSION
                              Datadog's own; with a key, datadog is configured,
                              unless Datadog's extension is in /opt/extensions
    ALL_PROXY, HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                              an http or https proxy to Datadog
    SSL_CERT_FILE             root certificates, in PEM
";
#[cfg(not(feature = "datadog"))]
const HELP_DATADOG: &str = "";

const HELP_END: &str = "
To see it at work: cargo run --release -p integration-tests
";
