//! The result of a run: values by scenario and figure, skipped scenarios, and remarks.
//!
//! In: one value for each repetition. Out: median, least and most of each. It measures nothing.
//! Serialized, a report is the document of `--json`:
//!
//! ```json
//! {"subject":"oom-witness","build":"layer","repetitions":5,"measurements":[
//!   {"name":"idle.rss_kib","unit":"KiB","median":432,"min":428,"max":432,"values":5,
//!    "what":"resident (VmRSS)","how":"/proc/PID after init, ..."}]}
//! ```

use serde::{Serialize, Serializer};
use serde_json::json;

use crate::crates::CrateBytes;
use crate::figure::{CostScenario, Figure, Unit};

/// The result of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CostReport {
    /// What was measured, in a few words.
    pub(crate) subject: String,
    pub(crate) build: String,
    pub(crate) repetitions: u32,
    pub(crate) measurements: Vec<Measurement>,
    /// The bytes of each crate in the file, if there is a linker's map.
    pub(crate) crates: Vec<CrateBytes>,
    pub(crate) skipped: Vec<SkippedScenario>,
    /// What else a reader must know about this run.
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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SkippedScenario {
    pub(crate) scenario: CostScenario,
    pub(crate) reason: String,
    /// The reason is this machine. Otherwise it is the extension.
    #[serde(skip)]
    pub(crate) lacking: bool,
}

impl CostReport {
    /// Adds one more value of a figure. A value that does not fit becomes the largest that does.
    pub(crate) fn add(&mut self, scenario: CostScenario, figure: Figure, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX);
        let same = |known: &Measurement| known.is(scenario, figure.name);
        match self.measurements.iter().position(same) {
            Some(index) => self.measurements[index].values.push(value),
            None => self.measurements.push(Measurement { scenario, figure, values: vec![value] }),
        }
    }

    /// Adds a value if there is one. Without it the figure is missing, not zero.
    pub(crate) fn add_some(&mut self, scenario: CostScenario, figure: Figure, value: Option<i64>) {
        if let Some(value) = value {
            self.add(scenario, figure, value);
        }
    }

    /// Keeps why a scenario has no figures. Only the first reason counts.
    pub(crate) fn skip(&mut self, scenario: CostScenario, reason: &str, lacking: bool) {
        if !self.is_skipped(scenario) {
            self.skipped.push(SkippedScenario { scenario, reason: reason.into(), lacking });
        }
    }

    /// No scenario is missing that this machine was required to run.
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

    /// The values of this figure.
    pub(crate) fn get(&self, scenario: CostScenario, figure: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|known| known.is(scenario, figure))
    }

    pub(crate) fn is_skipped(&self, scenario: CostScenario) -> bool {
        self.skipped.iter().any(|skipped| skipped.scenario == scenario)
    }
}

impl Measurement {
    fn is(&self, scenario: CostScenario, figure: &str) -> bool {
        (self.scenario, self.figure.name) == (scenario, figure)
    }

    /// `scenario.figure`
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.scenario.name(), self.figure.name)
    }

    pub(crate) fn unit(&self) -> Unit {
        Unit::of(self.figure.name)
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
}

impl Serialize for Measurement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = json!({
            "name": self.name(),
            "unit": self.unit(),
            "median": self.median(),
            "min": self.min(),
            "max": self.max(),
            "values": self.values.len(),
            "what": self.figure.what,
            "how": self.figure.how.unwrap_or(self.scenario.how()),
        });
        document.serialize(serializer)
    }
}

/// The middle value. For an even number of values, the mean of the middle two, rounded up.
pub(crate) fn median(values: &[i64]) -> i64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0,
        Some(upper) if values.len().is_multiple_of(2) => {
            let sum = values[middle - 1] + upper;
            sum.div_euclid(2) + sum.rem_euclid(2)
        }
        Some(value) => *value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{RSS, VM_HWM};

    #[test]
    fn the_median_of_an_even_number_is_rounded_up() {
        assert_eq!(median(&[]), 0);
        assert_eq!(median(&[7]), 7);
        assert_eq!(median(&[9, 1, 5]), 5);
        assert_eq!(median(&[1, 2]), 2);
        assert_eq!(median(&[-3, -2]), -2);
        assert_eq!(median(&[8, 4, 100, 0]), 6);
    }

    #[test]
    fn values_of_one_figure_stay_together() {
        let mut report = CostReport::default();
        for value in [3, 1, 2] {
            report.add(CostScenario::Idle, RSS, value);
        }
        report.add(CostScenario::Invocations, RSS, 10);
        report.add_some(CostScenario::Idle, VM_HWM, None);
        let idle = report.get(CostScenario::Idle, "rss_kib").expect("it was added");
        assert_eq!((idle.median(), idle.min(), idle.max(), idle.values.len()), (2, 1, 3, 3));
        assert_eq!(report.measurements.len(), 2);
        assert!(report.get(CostScenario::Idle, VM_HWM.name).is_none());
    }

    #[test]
    fn only_the_first_reason_is_kept() {
        let mut report = CostReport::default();
        report.skip(CostScenario::OomTls, "no right", true);
        report.skip(CostScenario::OomTls, "another", true);
        let reasons: Vec<_> = report.skipped.iter().map(|skipped| &skipped.reason).collect();
        assert_eq!(reasons, ["no right"]);
        assert!(report.is_skipped(CostScenario::OomTls) && !report.is_skipped(CostScenario::Idle));
    }

    #[test]
    fn a_measurement_is_one_object() {
        let mut report = CostReport::default();
        for value in [432, 428, 436] {
            report.add(CostScenario::Idle, RSS, value);
        }
        report.skip(CostScenario::OomEmf, "no right", true);
        let document = json!(report);
        let first = &document["measurements"][0];
        assert_eq!(first["name"], "idle.rss_kib");
        assert_eq!(first["unit"], "KiB");
        assert_eq!((&first["median"], &first["max"]), (&json!(432), &json!(436)));
        assert!(first["how"].as_str().is_some_and(|how| !how.is_empty()));
        assert_eq!(document["skipped"][0]["scenario"], "oom_emf");
    }
}
