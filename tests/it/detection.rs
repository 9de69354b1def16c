//! Detection rules: one scenario for each, and the detections that it must give.
//!
//! | File | What it tests |
//! |---|---|
//! | `attempts` | which events belong to one attempt, also of a retry, an init or a restore |
//! | `lines` | which attempt a line of a function belongs to |
//! | `evidence` | what the evidence of one attempt proves |
//! | `starts` | which invocation is a cold start |
//!
//! What a line's text proves is in `signatures`. All orders of a few events are in `orders`, random
//! ones in `worlds`.

mod attempts;
mod evidence;
mod lines;
mod starts;

use oom_witness_core::{InitializationType, Settings, Suspected};
use oom_witness_tests::{EventScript, run, run_in_pieces};

/// The last words of Node.
const FATAL: &str =
    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";

/// Checks which detections a scenario gives, and that they are the same in pieces of any size.
/// `FATAL!` stands for a line of [`FATAL`].
fn check_with(settings: Settings, scenario: &str, expected: &str) {
    let text = scenario;
    let scenario = EventScript::parse(&text.replace("FATAL!", FATAL));
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    let result = run(&scenario, settings);
    assert_eq!(result.lines(), expected.join("\n"), "{text}");
    for size in [1, 13] {
        assert_eq!(run_in_pieces(&scenario, settings, size), result, "in pieces of {size}");
    }
}

fn check(scenario: &str, expected: &str) {
    check_with(Settings::default(), scenario, expected);
}

fn suspected(suspected: Suspected) -> Settings {
    Settings { suspected, ..Settings::default() }
}

fn managed_instances() -> Settings {
    let initialization_type = InitializationType::ManagedInstances;
    Settings { initialization_type, ..Settings::default() }
}
