//! `size-report peers`: measures the agent and small extensions of other kinds in one run.
//!
//! In: both layers, and `size-report/peers`. Out: a table, and a line of history for each
//! extension, which `chart` draws. All run the same scenarios on the same machine.

use std::io::{self, Write};

use crate::args::{Build, ExtensionArgs, Measure, RunArgs};
use crate::build::{self, ExtensionFile};
use crate::figure::{self, CostScenario, Figure};
use crate::measure;
use crate::report::CostReport;
use crate::table::table;

/// Measures all of them. True: nothing required was missing.
pub(crate) fn main(args: &RunArgs) -> io::Result<bool> {
    let mut reports = Vec::new();
    for build in [Build::Layer, Build::LayerEmf] {
        let agent = build::agent(&sandbox::workspace()?, build, None)?;
        reports.push(report(args, build, agent)?);
    }
    for peer in build::peers()? {
        reports.push(report(args, Build::Gnu, peer)?);
    }
    writeln!(io::stdout(), "{}", peers_table(&reports))?;
    Ok(reports.iter().all(CostReport::is_complete))
}

fn report(args: &RunArgs, build: Build, extension: ExtensionFile) -> io::Result<CostReport> {
    log::info!("{}", extension.name);
    let measure = Measure {
        extension: ExtensionArgs { path: None, build, map: None },
        invocations: 50,
        memory: 128,
        json: false,
        runs: args.clone(),
    };
    let title = extension.name.clone();
    measure::report(&measure, &ExtensionFile { title, ..extension })
}

fn peers_table(reports: &[CostReport]) -> String {
    let names = FIGURES.map(|(name, ..)| name);
    let header: Vec<_> = ["extension"].into_iter().chain(names).collect();
    let rows = reports.iter().map(|report| {
        let cells = FIGURES.map(|(_, scenario, figure)| {
            let found = report.get(scenario, figure.name);
            found.map_or("-".into(), |found| found.unit().show(found.median()))
        });
        [report.subject.clone()].into_iter().chain(cells)
    });
    let table = table(&header, 1..=FIGURES.len(), rows);
    format!("{table}\n{NOTE}")
}

const FIGURES: [(&str, CostScenario, Figure); 9] = [
    ("file", CostScenario::Binary, figure::FILE),
    ("RSS idle", CostScenario::Idle, figure::RSS),
    ("RssAnon idle", CostScenario::Idle, figure::RSS_ANON),
    ("RSS after 50", CostScenario::Invocations, figure::RSS),
    ("VmHWM, kill", CostScenario::OomEmf, figure::VM_HWM),
    ("threads", CostScenario::Idle, figure::THREADS),
    ("to register", CostScenario::Start, figure::REGISTER),
    ("CPU, quiet invocation", CostScenario::Quiet, figure::CPU),
    ("of the crate's", CostScenario::Quiet, figure::CRATE_PERCENT),
];

const NOTE: &str = "\
Medians. The interpreters of the scripts are not in their files. None of the others sends anything.
The rows were measured one after the other, so their times depend on what else the machine did.
Only for the share of the crate's CPU time did both take turns.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CPU, CRATE_PERCENT, CostScenario};

    #[test]
    fn a_row_has_the_processor_time_and_its_share_of_the_crates_time() {
        let mut ours = CostReport { subject: "oom-witness".into(), ..CostReport::default() };
        ours.add(CostScenario::Quiet, CPU, 41_230);
        ours.add(CostScenario::Quiet, CRATE_PERCENT, 58);
        let mut theirs =
            CostReport { subject: "lambda-extension crate".into(), ..CostReport::default() };
        theirs.add(CostScenario::Quiet, CPU, 71_000);
        let text = peers_table(&[ours, theirs]);
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(
            row("oom-witness").contains("41.2 us") && row("oom-witness").contains("58 %"),
            "{text}"
        );
        assert!(row("71.0 us").trim_end_matches(['│', ' ']).ends_with('-'), "{text}");
    }
}
