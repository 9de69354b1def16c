//! Budgets: the most that a figure may be, per build, and the comparison with a report.
//!
//! ```toml
//! [musl]
//! idle.rss_kib = 448
//! ```
//!
//! In: the text of budgets.toml, and a report. Out: one row for each budget. The largest of all
//! repetitions counts, since a budget is a promise about the worst. A budget for a time is an
//! error, because a time depends on the machine. The ratio of two times of the same run may have
//! one.

use std::collections::BTreeMap;

use crate::figure::{CostScenario, Unit};
use crate::report::{Measurement, Report};

/// The budgets of one build, in the order of the scenarios.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Budgets(Vec<Budget>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Budget {
    name: String,
    most: i64,
}

/// One budget and what was measured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) measured: Option<i64>,
    pub(crate) budget: i64,
    pub(crate) verdict: Verdict,
}

/// Whether a budget is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Ok,
    Over,
    /// This run has no such figure. A wrong name must not pass.
    NotMeasured,
    /// Its scenario did not run, and why.
    Skipped(String),
}

impl Budgets {
    /// Reads the budgets of a build.
    pub(crate) fn parse(text: &str, build: &str) -> Result<Self, String> {
        type Tables = BTreeMap<String, BTreeMap<String, BTreeMap<String, i64>>>;
        let mut builds: Tables = toml::from_str(text).map_err(|error| error.to_string())?;
        let scenarios =
            builds.remove(build).ok_or_else(|| format!("there is no table [{build}]"))?;
        let order = |name: &str| CostScenario::all().iter().position(|known| known.name() == name);
        let mut budgets = Vec::new();
        for (scenario, figures) in scenarios {
            let place = order(&scenario)
                .ok_or_else(|| format!("[{build}] {scenario}: there is no such scenario"))?;
            for (figure, most) in figures {
                let name = format!("{scenario}.{figure}");
                if Unit::of(&figure).is_time() {
                    return Err(format!("[{build}] {name}: times are never compared"));
                }
                budgets.push((place, Budget { name, most }));
            }
        }
        budgets.sort_by_key(|(place, _)| *place);
        Ok(Self(budgets.into_iter().map(|(_, budget)| budget).collect()))
    }

    /// Compares each with what was measured.
    pub(crate) fn compare(&self, report: &Report) -> Vec<Row> {
        self.0.iter().map(|budget| budget.compare(report)).collect()
    }
}

impl Budget {
    fn compare(&self, report: &Report) -> Row {
        let measured = report.get(&self.name).map(Measurement::max);
        let verdict = match (measured, report.reason(&self.name)) {
            (Some(measured), _) if measured <= self.most => Verdict::Ok,
            (Some(_), _) => Verdict::Over,
            (None, Some(reason)) => Verdict::Skipped(reason.to_string()),
            (None, None) => Verdict::NotMeasured,
        };
        let unit = Unit::of(&self.name);
        Row { name: self.name.clone(), unit, measured, budget: self.most, verdict }
    }
}

impl Row {
    /// The rest of the budget. It is negative when the figure is over.
    pub(crate) fn margin(&self) -> Option<i64> {
        self.measured.map(|measured| self.budget - measured)
    }
}

impl Verdict {
    /// In a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NotMeasured => "NOT MEASURED",
            Self::Ok => "OK",
            Self::Over => "OVER",
            Self::Skipped(_) => "SKIPPED",
        }
    }

    /// Whether a check with this row passes.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Ok | Self::Skipped(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::args::Build;
    use crate::figure::{
        COUNTED, CPU, CRATE_PERCENT, FILE, REGISTER, RSS, RSS_ANON, THREADS, UNSEEN, VM_HWM,
    };

    const TEXT: &str = "
        [gnu]
        oom_tls.vm_hwm_kib = 2560
        [musl]
        # reason
        oom_tls.vm_hwm_kib = 768
        idle.rss_kib = 448
        idle.rss_anon_kib = 96
    ";

    fn names(rows: &[Row]) -> Vec<(&str, &str)> {
        rows.iter().map(|row| (row.name.as_str(), row.verdict.word())).collect()
    }

    #[test]
    fn each_build_has_its_own() {
        let gnu = Budgets::parse(TEXT, "gnu").expect("budgets");
        assert_eq!(gnu.0, [Budget { name: "oom_tls.vm_hwm_kib".into(), most: 2560 }]);
        let musl = Budgets::parse(TEXT, "musl").expect("budgets");
        let names: Vec<_> = musl.0.iter().map(|budget| budget.name.as_str()).collect();
        assert_eq!(names, ["idle.rss_anon_kib", "idle.rss_kib", "oom_tls.vm_hwm_kib"]);
    }

    #[test]
    fn the_largest_value_counts() {
        let budgets = Budgets::parse(TEXT, "musl").expect("budgets");
        let mut report = Report::default();
        for value in [440, 448, 444] {
            report.add(CostScenario::Idle, RSS, value);
        }
        report.add(CostScenario::Idle, RSS_ANON, 97);
        report.add(CostScenario::OomTls, VM_HWM, 700);
        let rows = budgets.compare(&report);
        let expected =
            [("idle.rss_anon_kib", "OVER"), ("idle.rss_kib", "OK"), ("oom_tls.vm_hwm_kib", "OK")];
        assert_eq!(names(&rows), expected);
        assert_eq!(rows.iter().map(Row::margin).collect::<Vec<_>>(), [Some(-1), Some(0), Some(68)]);
    }

    #[test]
    fn a_skipped_scenario_passes_and_a_missing_figure_does_not() {
        let budgets = Budgets::parse(TEXT, "musl").expect("budgets");
        let mut report = Report::default();
        report.add(CostScenario::Idle, RSS, 1);
        report.skip(CostScenario::OomTls, "no right", true);
        let rows = budgets.compare(&report);
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
    fn what_makes_no_sense_is_an_error() {
        for (text, why) in [
            ("[gnu]", "no table [musl]"),
            ("[musl]\nidel.rss_kib = 1", "no such scenario"),
            ("[musl]\nidle.rss_kib = 1.5", "invalid type"),
            ("[musl]\nidle.rss_kib = \"1\"", "invalid type"),
            ("[musl]\nstart.register_us = 5000", "times are never compared"),
            ("[musl]\nquiet.cpu_ns = 5000", "times are never compared"),
            ("[musl", ""),
        ] {
            let error = Budgets::parse(text, "musl").expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_unit_ends_the_name() {
        let times = [REGISTER, UNSEEN, crate::figure::NEXT, crate::figure::DURATION, CPU];
        assert!(times.iter().all(|figure| Unit::of(figure.name).is_time()));
        let others = [RSS, RSS_ANON, VM_HWM, FILE, THREADS, COUNTED, CRATE_PERCENT];
        let units = others.map(|figure| Unit::of(figure.name));
        let [kib, count] = [Unit::Kib, Unit::Count];
        assert_eq!(units, [kib, kib, kib, Unit::Bytes, count, count, Unit::Percent]);
    }

    #[test]
    fn the_budgets_of_this_project_can_be_read() {
        for build in Build::value_variants().iter().map(|build| build.name()) {
            let budgets = Budgets::parse(include_str!("../budgets.toml"), build);
            assert!(budgets.is_ok_and(|budgets| !budgets.0.is_empty()), "{build}");
        }
    }
}
