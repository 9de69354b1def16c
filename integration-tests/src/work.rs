//! What the built-in function is asked to do: the payload of an invocation, as JSON.
//!
//! ```json
//! {"behavior":"grow","workers":16,"lines":["about to grow"]}
//! ```

use serde::{Deserialize, Serialize};

/// The payload of one invocation of the built-in function.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Work {
    /// How the invocation ends.
    pub behavior: Behavior,
    /// How many processes take part in `grow`, `worker-exit` and `worker-survives`.
    pub workers: u32,
    /// In `grow`, no process grows before all of them are there.
    pub together: bool,
    /// The exit code of `crash`.
    pub code: i32,
    /// MiB that `near-limit` touches.
    pub mb: usize,
    /// Milliseconds to wait before that.
    pub pause_ms: u64,
    /// Lines for standard output, first.
    pub lines: Vec<String>,
    /// How often they are printed. 0 is once.
    pub repeat: u32,
    /// Text frames for the log descriptor, then.
    pub frames: Vec<String>,
}

/// How an invocation of the built-in function ends.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behavior {
    /// Answers.
    #[default]
    Succeed,
    /// Touches memory until the kernel kills it. `workers` processes do so together, including the
    /// runtime.
    Grow,
    /// Worker processes grow. When the first is killed, the runtime exits with 137, like a shell.
    WorkerExit,
    /// A worker process grows and is killed. The runtime answers as if nothing had happened.
    WorkerSurvives,
    /// Touches `mb` MiB, gives them back and answers.
    NearLimit,
    /// Exits with `code`.
    Crash,
    /// Raises SIGABRT.
    Abort,
    /// Never answers.
    Timeout,
    /// Reports a handled error through the Runtime API.
    Error,
}

impl Work {
    /// Work that ends in `behavior`, in one process.
    pub fn new(behavior: Behavior) -> Self {
        Self { behavior, workers: 1, ..Self::default() }
    }

    /// The same with this many processes.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// The same with these lines on standard output first.
    pub fn lines<I: IntoIterator<Item = S>, S: Into<String>>(mut self, lines: I) -> Self {
        self.lines = lines.into_iter().map(Into::into).collect();
        self
    }

    /// The payload.
    pub fn payload(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
