//! A report as JSON, for standard output.
//!
//! ```json
//! {"subject":"oom-witness","build":"layer","measurements":[
//!   {"name":"idle.rss_kib","unit":"KiB","median":432,"min":428,"max":432,"values":5,
//!    "what":"resident (VmRSS)","how":"/proc/PID after init, ..."}]}
//! ```

use serde_json::{Value, json};

use crate::budgets::BudgetRow;
use crate::report::{CostReport, Measurement};

/// The document.
pub(crate) fn document(report: &CostReport) -> Value {
    json!({
        "subject": report.subject,
        "build": report.build,
        "repetitions": report.repetitions,
        "measurements": report.measurements.iter().map(measurement).collect::<Vec<_>>(),
        "crates": report.crates,
        "skipped": report.skipped,
        "remarks": report.remarks,
    })
}

/// The document with the verdicts of a check.
pub(crate) fn checked(report: &CostReport, rows: &[BudgetRow]) -> Value {
    let mut document = document(report);
    document["checks"] = rows.iter().map(row).collect();
    document
}

fn measurement(measurement: &Measurement) -> Value {
    json!({
        "name": measurement.name(),
        "unit": measurement.unit(),
        "median": measurement.median(),
        "min": measurement.min(),
        "max": measurement.max(),
        "values": measurement.count(),
        "what": measurement.figure.what,
        "how": measurement.how(),
    })
}

fn row(row: &BudgetRow) -> Value {
    json!({
        "name": row.name,
        "unit": row.unit,
        "measured": row.measured,
        "budget": row.budget,
        "verdict": row.verdict.word(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CostScenario, RSS};

    #[test]
    fn a_measurement_is_one_object() {
        let mut report = CostReport::default();
        for value in [432, 428, 436] {
            report.add(CostScenario::Idle, RSS, value);
        }
        report.skip(CostScenario::OomEmf, "no right", true);
        let document = document(&report);
        let first = &document["measurements"][0];
        assert_eq!(first["name"], "idle.rss_kib");
        assert_eq!(first["unit"], "KiB");
        assert_eq!((&first["median"], &first["max"]), (&json!(432), &json!(436)));
        assert!(first["how"].as_str().is_some_and(|how| !how.is_empty()));
        assert_eq!(document["skipped"][0]["scenario"], "oom_emf");
    }
}
