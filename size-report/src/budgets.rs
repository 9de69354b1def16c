//! Budgets: the most that a figure may be, per build, and the comparison with a report.
//!
//! ```toml
//! [layer]
//! idle.rss_kib = 448
//! ```
//!
//! In: the text of budgets.toml, and a report. Out: one row for each budget. The largest value of
//! all repetitions counts, because a budget is a promise about the worst case. A budget for a time
//! is an error, because a time depends on the machine. The ratio of two times of one run may have a
//! budget.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figure::{CostScenario, Unit};
use crate::report::{CostReport, Measurement};

/// The most that each figure of each scenario may be.
pub(crate) type Budgets = BTreeMap<CostScenario, BTreeMap<String, i64>>;

/// One budget and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BudgetRow {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) measured: Option<i64>,
    pub(crate) budget: i64,
    pub(crate) verdict: Verdict,
}

/// Whether a budget is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Ok,
    Over,
    /// This run has no such figure. A wrong name must not pass.
    #[serde(rename = "NOT MEASURED")]
    NotMeasured,
    /// Its scenario did not run.
    Skipped,
}

/// Reads the budgets of a build.
pub(crate) fn parse(text: &str, build: &str) -> Result<Budgets, String> {
    let mut builds: BTreeMap<String, Budgets> =
        toml::from_str(text).map_err(|error| error.to_string())?;
    let budgets = builds.remove(build).ok_or_else(|| format!("there is no table [{build}]"))?;
    for (scenario, figures) in &budgets {
        if let Some(time) = figures.keys().find(|figure| Unit::of(figure).is_time()) {
            let name = scenario.name();
            return Err(format!("[{build}] {name}.{time}: a time cannot have a budget"));
        }
    }
    Ok(budgets)
}

/// Compares each budget with what was measured, in the order of the scenarios.
pub(crate) fn compare(budgets: &Budgets, report: &CostReport) -> Vec<BudgetRow> {
    let mut rows = Vec::new();
    for (&scenario, figures) in budgets {
        for (figure, &budget) in figures {
            let measured = report.get(scenario, figure).map(Measurement::max);
            let verdict = match measured {
                Some(measured) if measured <= budget => Verdict::Ok,
                Some(_) => Verdict::Over,
                None if report.is_skipped(scenario) => Verdict::Skipped,
                None => Verdict::NotMeasured,
            };
            let (name, unit) = (format!("{}.{figure}", scenario.name()), Unit::of(figure));
            rows.push(BudgetRow { name, unit, measured, budget, verdict });
        }
    }
    rows
}

impl BudgetRow {
    /// The part of the budget that is left. It is negative when the figure is over.
    pub(crate) fn margin(&self) -> Option<i64> {
        self.measured.map(|measured| self.budget - measured)
    }
}

impl Verdict {
    /// The word in tables. It is the same as in the JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotMeasured => "NOT MEASURED",
            Self::Ok => "OK",
            Self::Over => "OVER",
            Self::Skipped => "SKIPPED",
        }
    }

    /// Whether a check with this row passes.
    pub(crate) fn passes(self) -> bool {
        matches!(self, Self::Ok | Self::Skipped)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::args::Build;
    use crate::figure::{RSS, RSS_ANON, VM_HWM};

    const TEXT: &str = "
        [gnu]
        oom_tls.vm_hwm_kib = 2560
        [musl]
        # reason
        oom_tls.vm_hwm_kib = 768
        idle.rss_kib = 448
        idle.rss_anon_kib = 96
    ";

    fn names(rows: &[BudgetRow]) -> Vec<(&str, &str)> {
        rows.iter().map(|row| (row.name.as_str(), row.verdict.word())).collect()
    }

    #[test]
    fn each_build_has_its_own_budgets() {
        let names = |build| {
            let rows = compare(&parse(TEXT, build).expect("budgets"), &CostReport::default());
            rows.into_iter().map(|row| (row.name, row.budget)).collect::<Vec<_>>()
        };
        assert_eq!(names("gnu"), [("oom_tls.vm_hwm_kib".to_string(), 2560)]);
        let musl = [("idle.rss_anon_kib", 96), ("idle.rss_kib", 448), ("oom_tls.vm_hwm_kib", 768)];
        assert_eq!(names("musl"), musl.map(|(name, most)| (name.to_string(), most)));
    }

    #[test]
    fn the_largest_value_counts() {
        let budgets = parse(TEXT, "musl").expect("budgets");
        let mut report = CostReport::default();
        for value in [440, 448, 444] {
            report.add(CostScenario::Idle, RSS, value);
        }
        report.add(CostScenario::Idle, RSS_ANON, 97);
        report.add(CostScenario::OomTls, VM_HWM, 700);
        let rows = compare(&budgets, &report);
        let expected =
            [("idle.rss_anon_kib", "OVER"), ("idle.rss_kib", "OK"), ("oom_tls.vm_hwm_kib", "OK")];
        assert_eq!(names(&rows), expected);
        assert_eq!(
            rows.iter().map(BudgetRow::margin).collect::<Vec<_>>(),
            [Some(-1), Some(0), Some(68)]
        );
    }

    #[test]
    fn a_skipped_scenario_passes_and_a_missing_figure_does_not() {
        let budgets = parse(TEXT, "musl").expect("budgets");
        let mut report = CostReport::default();
        report.add(CostScenario::Idle, RSS, 1);
        report.skip(CostScenario::OomTls, "no right", true);
        let rows = compare(&budgets, &report);
        let expected = [
            ("idle.rss_anon_kib", "NOT MEASURED"),
            ("idle.rss_kib", "OK"),
            ("oom_tls.vm_hwm_kib", "SKIPPED"),
        ];
        assert_eq!(names(&rows), expected);
        let passes: Vec<_> = rows.iter().map(|row| row.verdict.passes()).collect();
        assert_eq!(passes, [false, true, true]);
    }

    #[test]
    fn a_wrong_table_is_an_error() {
        for (text, why) in [
            ("[gnu]", "no table [musl]"),
            ("[musl]\nidel.rss_kib = 1", "unknown variant `idel`"),
            ("[musl]\nidle.rss_kib = 1.5", "invalid type"),
            ("[musl]\nidle.rss_kib = \"1\"", "invalid type"),
            ("[musl]\nstart.register_us = 5000", "a time cannot have a budget"),
            ("[musl]\nquiet.cpu_ns = 5000", "a time cannot have a budget"),
            ("[musl", ""),
        ] {
            let error = parse(text, "musl").expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn each_build_of_this_project_has_budgets() {
        for build in Build::value_variants().iter().map(|build| build.name()) {
            let budgets = parse(include_str!("../budgets.toml"), &build);
            assert!(budgets.is_ok_and(|budgets| !budgets.is_empty()), "{build}");
        }
    }
}
