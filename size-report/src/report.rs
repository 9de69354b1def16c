//! The result of a run: values by scenario and figure, skipped scenarios with their reasons,
//! remarks.
//!
//! In: one value for each repetition. Out: median, least and most of each. It measures nothing.

use crate::crates::Share;
use crate::figure::{CostScenario, Figure, Unit};

/// The result of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// What was measured, in a few words.
    pub(crate) subject: String,
    pub(crate) build: &'static str,
    pub(crate) repetitions: u32,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) skipped: Vec<SkippedScenario>,
    /// The bytes of each crate in the file, if there is a linker's map.
    pub(crate) crates: Vec<Share>,
    /// What else a reader has to know about this run.
    pub(crate) remarks: Vec<String>,
}

/// One figure with all its values.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) scenario: CostScenario,
    pub(crate) figure: Figure,
    values: Vec<i64>,
}

/// A scenario that could not run.
#[derive(Clone, Debug)]
pub(crate) struct SkippedScenario {
    pub(crate) scenario: CostScenario,
    pub(crate) reason: String,
    /// This machine could not run it. Otherwise the extension cannot.
    pub(crate) lacking: bool,
}

impl Report {
    /// Keeps one more value. One that does not fit becomes the largest that does.
    pub(crate) fn add(&mut self, scenario: CostScenario, figure: Figure, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX);
        let same = |known: &&mut Measurement| {
            known.scenario == scenario && known.figure.name == figure.name
        };
        match self.measurements.iter_mut().find(same) {
            Some(measurement) => measurement.values.push(value),
            None => {
                self.measurements.push(Measurement { scenario, figure, values: vec![value] });
            }
        }
    }

    /// Keeps a value if there is one. Without it the figure is missing, not zero.
    pub(crate) fn add_some(&mut self, scenario: CostScenario, figure: Figure, value: Option<i64>) {
        if let Some(value) = value {
            self.add(scenario, figure, value);
        }
    }

    /// Says why a scenario has no figures. Only the first reason is kept.
    pub(crate) fn skip(
        &mut self,
        scenario: CostScenario,
        reason: impl Into<String>,
        lacking: bool,
    ) {
        if !self.skipped.iter().any(|skipped| skipped.scenario == scenario) {
            self.skipped.push(SkippedScenario { scenario, reason: reason.into(), lacking });
        }
    }

    /// Nothing that this machine was required to do is missing.
    pub(crate) fn is_complete(&self) -> bool {
        !sandbox::require_all() || !self.skipped.iter().any(|skipped| skipped.lacking)
    }

    /// Adds a remark once.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    /// The measurement with this full name.
    pub(crate) fn get(&self, name: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.name() == name)
    }

    /// Why the scenario of this full name has no figures.
    pub(crate) fn reason(&self, name: &str) -> Option<&str> {
        let scenario = name.split('.').next()?;
        let skipped = self.skipped.iter().find(|skipped| skipped.scenario.name() == scenario)?;
        Some(&skipped.reason)
    }
}

impl Measurement {
    /// `scenario.figure`
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.scenario.name(), self.figure.name)
    }

    pub(crate) fn unit(&self) -> Unit {
        Unit::of(self.figure.name)
    }

    /// How it was taken.
    pub(crate) fn how(&self) -> &'static str {
        self.figure.how.unwrap_or(self.scenario.how())
    }

    /// The middle value.
    pub(crate) fn median(&self) -> i64 {
        median(&self.values)
    }

    pub(crate) fn min(&self) -> i64 {
        self.values.iter().copied().min().unwrap_or(0)
    }

    pub(crate) fn max(&self) -> i64 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    /// How many values it is made of.
    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }
}

/// The middle value. For an even number of values, the mean of the middle two, rounded up.
pub(crate) fn median(values: &[i64]) -> i64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (None, _) => 0,
        (Some(upper), 0) => {
            let sum = values[middle - 1] + upper;
            sum.div_euclid(2) + sum.rem_euclid(2)
        }
        (Some(value), _) => *value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{RSS, VM_HWM};

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0);
        assert_eq!(median(&[7]), 7);
        assert_eq!(median(&[9, 1, 5]), 5);
        assert_eq!(median(&[1, 2]), 2);
        assert_eq!(median(&[-3, -2]), -2);
        assert_eq!(median(&[8, 4, 100, 0]), 6);
    }

    #[test]
    fn values_of_one_figure_stay_together() {
        let mut report = Report::default();
        for value in [3, 1, 2] {
            report.add(CostScenario::Idle, RSS, value);
        }
        report.add(CostScenario::Invocations, RSS, 10);
        report.add_some(CostScenario::Idle, VM_HWM, None);
        let idle = report.get("idle.rss_kib").expect("it was added");
        assert_eq!((idle.median(), idle.min(), idle.max(), idle.count()), (2, 1, 3, 3));
        assert_eq!(report.measurements.len(), 2);
        assert!(report.get("idle.vm_hwm_kib").is_none());
    }

    #[test]
    fn only_the_first_reason_is_kept() {
        let mut report = Report::default();
        report.skip(CostScenario::OomTls, "no right", true);
        report.skip(CostScenario::OomTls, "another", true);
        assert_eq!(report.reason("oom_tls.vm_hwm_kib"), Some("no right"));
        assert_eq!(report.reason("idle.rss_kib"), None);
    }
}
