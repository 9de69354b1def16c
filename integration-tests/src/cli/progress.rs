//! Live progress: spinners and bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The progress of one command.
pub(super) struct Progress {
    all: MultiProgress,
    terminal: bool,
}

/// One line of it.
#[derive(Clone)]
pub(super) struct Task {
    bar: ProgressBar,
    name: String,
    terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::new(), terminal: std::io::stderr().is_terminal() }
    }

    /// A task whose end is not known.
    pub(super) fn spinner(&self, name: &str) -> Task {
        self.task(name, ProgressBar::new_spinner(), "{spinner} {prefix:<24} {wide_msg}")
    }

    /// A task of this many steps.
    pub(super) fn bar(&self, name: &str, steps: u64) -> Task {
        let style = "{spinner} {prefix:<24} [{bar:30}] {pos}/{len} {elapsed} {wide_msg}";
        self.task(name, ProgressBar::new(steps), style)
    }

    fn task(&self, name: &str, bar: ProgressBar, style: &str) -> Task {
        let bar = self.all.add(bar);
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        if self.terminal {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Task { bar, name: name.to_string(), terminal: self.terminal }
    }
}

impl Task {
    /// Shows the present step, only on a terminal.
    pub(super) fn says(&self, text: &str) {
        self.bar.set_message(text.to_string());
    }

    /// One step further.
    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Shows the end, on a terminal and elsewhere.
    pub(super) fn ends(&self, text: &str) {
        if self.terminal {
            self.bar.finish_with_message(text.to_string());
        } else {
            eprintln!("{}: {text}", self.name);
        }
    }
}
