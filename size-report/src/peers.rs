//! `size-report peers`: measures the agent and the smallest extensions of other kinds in one run.
//!
//! In: `size-report/peers`. Out: a table, and a line of history for each, which `chart` draws. All
//! run the same scenarios on the same machine.

use std::io::{self, Write};

use crate::args::{Build, Measure, Peers, Which};
use crate::build::{self, CRATE, OURS, OURS_EMF};
use crate::measure;
use crate::report::Report;
use crate::table;

/// Measures all of them. True: nothing required was missing.
pub(crate) fn main(args: &Peers) -> io::Result<bool> {
    let folder = build::peers()?;
    let mut reports = Vec::new();
    for (name, build) in [(OURS, Build::Layer), (OURS_EMF, Build::LayerEmf)] {
        reports.push(report(args, name, Which { extension: None, build, map: None })?);
    }
    let others = [
        (CRATE, build::crate_peer()?),
        ("plain Python", folder.join("plain-python")),
        ("plain Node", folder.join("plain-node")),
    ];
    for (name, path) in others {
        reports.push(report(
            args,
            name,
            Which { extension: Some(path), build: Build::Gnu, map: None },
        )?);
    }
    writeln!(io::stdout(), "{}", shown(&reports))?;
    Ok(reports.iter().all(Report::is_complete))
}

fn report(args: &Peers, name: &str, subject: Which) -> io::Result<Report> {
    log::info!("{name}");
    let measure = Measure {
        subject,
        invocations: 50,
        repetitions: args.repetitions,
        memory: 128,
        json: false,
        history: args.history.clone(),
    };
    measure::report_as(&measure, Some(name))
}

fn shown(reports: &[Report]) -> String {
    const FIGURES: [(&str, &str); 9] = [
        ("file", "binary.file_bytes"),
        ("RSS idle", "idle.rss_kib"),
        ("RssAnon idle", "idle.rss_anon_kib"),
        ("RSS after 50", "invocations.rss_kib"),
        ("VmHWM, kill", "oom_emf.vm_hwm_kib"),
        ("threads", "idle.threads"),
        ("to register", "start.register_us"),
        ("CPU, quiet invocation", "quiet.cpu_ns"),
        ("of the crate's", "quiet.crate_percent"),
    ];
    let header: Vec<_> =
        std::iter::once("extension").chain(FIGURES.iter().map(|figure| figure.0)).collect();
    let mut table = sandbox::table(&header);
    for report in reports {
        let cell = |(_, name): &(&str, &str)| {
            let found = report.get(name);
            found.map_or("-".into(), |found| found.unit().show(found.median()))
        };
        table.add_row(std::iter::once(report.subject.clone()).chain(FIGURES.iter().map(cell)));
    }
    table::numbers(&mut table, 1..=9);
    let note = "Medians. The scripts' interpreters are not in their files. None of the others sends anything.\n\
                The rows were measured one after the other, so their times move with what the machine did\n\
                meanwhile; for the share of the crate's CPU time both took turns.";
    format!("{table}\n{note}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CPU, CRATE_PERCENT, CostScenario};

    #[test]
    fn a_row_has_processor_time_and_its_share_of_the_crates() {
        let mut ours = Report { subject: OURS.into(), ..Report::default() };
        ours.add(CostScenario::Quiet, CPU, 41_230);
        ours.add(CostScenario::Quiet, CRATE_PERCENT, 58);
        let mut theirs = Report { subject: CRATE.into(), ..Report::default() };
        theirs.add(CostScenario::Quiet, CPU, 71_000);
        let text = shown(&[ours, theirs]);
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(
            row("oom-witness").contains("41.2 us") && row("oom-witness").contains("58 %"),
            "{text}"
        );
        assert!(row("71.0 us").trim_end_matches(['│', ' ']).ends_with('-'), "{text}");
    }
}
