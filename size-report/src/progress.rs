//! Live progress on standard error: a bar on a terminal, elsewhere a line for each scenario or
//! cell.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::figure::CostScenario;

/// The progress of one run.
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// A run of this many steps.
    pub(crate) fn new(steps: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(steps) } else { ProgressBar::hidden() };
        let template = "{spinner} {prefix:<12} [{bar:30}] {pos}/{len} {elapsed} {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, terminal }
    }

    /// A scenario begins.
    pub(crate) fn begins(&self, scenario: CostScenario) {
        self.bar.set_prefix(scenario.name());
        self.bar.set_message("");
        if !self.terminal {
            log::info!("measuring: {}", scenario.name());
        }
    }

    /// Shows the present step, only on a terminal.
    pub(crate) fn says(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Logs a line if there is no terminal. On a terminal the bar shows it.
    pub(crate) fn tells(&self, text: &str) {
        if !self.terminal {
            log::info!("{text}");
        }
    }

    /// Logs a line, also on a terminal.
    pub(crate) fn warns(&self, text: &str) {
        self.bar.suspend(|| log::warn!("{text}"));
    }

    /// One step further.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// The end.
    pub(crate) fn ends(&self) {
        self.bar.finish_and_clear();
    }
}
