//! What is printed at the end: each function's figures, and which came close to the limit.

use std::collections::BTreeMap;
use std::fmt;

use oom_witness_core::{Confidence, Detection, Report};

pub(super) struct Summary {
    near_percent: u32,
    functions: BTreeMap<String, FunctionFigures>,
}

#[derive(Default)]
struct FunctionFigures {
    reports: u32,
    confirmed: u32,
    suspected: u32,
    /// The highest mark in MB and the limit at that time.
    most_mb: u32,
    limit_mb: u32,
}

impl Summary {
    pub(super) const fn new(near_percent: u32) -> Self {
        Self { near_percent, functions: BTreeMap::new() }
    }

    pub(super) fn add_report(&mut self, function: &str, report: &Report) {
        let figures = self.functions.entry(function.to_string()).or_default();
        figures.reports += 1;
        if let (Some(used), Some(limit)) = (report.max_memory_used_mb, report.memory_size_mb)
            && share(used, limit) >= share(figures.most_mb, figures.limit_mb)
        {
            (figures.most_mb, figures.limit_mb) = (used, limit);
        }
    }

    pub(super) fn add_detection(&mut self, function: &str, detection: &Detection) {
        let figures = self.functions.entry(function.to_string()).or_default();
        match detection.confidence {
            Confidence::Confirmed => figures.confirmed += detection.count,
            Confidence::Suspected => figures.suspected += detection.count,
        }
    }

    pub(super) fn is_out_of_memory(&self) -> bool {
        self.functions.values().any(|figures| figures.confirmed + figures.suspected > 0)
    }
}

/// Percent, rounded down.
fn share(used_mb: u32, limit_mb: u32) -> u64 {
    (u64::from(used_mb) * 100).checked_div(limit_mb.into()).unwrap_or_default()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figures) in &self.functions {
            let FunctionFigures { reports, confirmed, suspected, most_mb, limit_mb } = figures;
            write!(f, "{name}: {reports} reports, {confirmed} out of memory")?;
            if *suspected > 0 {
                write!(f, ", {suspected} suspected")?;
            }
            if *limit_mb > 0 {
                let percent = share(*most_mb, *limit_mb);
                write!(f, ", at most {most_mb} of {limit_mb} MB used ({percent} %)")?;
                let is_near = percent >= u64::from(self.near_percent);
                if is_near && confirmed + suspected == 0 {
                    write!(f, ": it came close")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
