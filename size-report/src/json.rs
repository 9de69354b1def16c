//! A report as JSON: the document on standard output, and the same in one line of history.
//!
//! ```json
//! {"subject":"oom-witness","build":"layer","measurements":[
//!   {"name":"idle.rss_kib","unit":"KiB","median":432,"min":428,"max":432,"values":5,
//!    "what":"resident (VmRSS)","how":"/proc/PID after init, ..."}]}
//! ```

use serde_json::{Value, json};

use crate::budgets::Row;
use crate::crates::Share;
use crate::report::{Measurement, Report};

/// The document.
pub(crate) fn document(report: &Report) -> Value {
    let skipped: Vec<Value> = report
        .skipped
        .iter()
        .map(|skipped| json!({"scenario": skipped.scenario.name(), "reason": skipped.reason}))
        .collect();
    json!({
        "subject": report.subject,
        "build": report.build,
        "repetitions": report.repetitions,
        "measurements": report.measurements.iter().map(measurement).collect::<Vec<_>>(),
        "crates": report.crates.iter().map(Share::json).collect::<Vec<_>>(),
        "skipped": skipped,
        "remarks": report.remarks,
    })
}

/// The document with the verdicts of a check.
pub(crate) fn checked(report: &Report, rows: &[Row]) -> Value {
    let mut document = document(report);
    document["checks"] = rows.iter().map(row).collect();
    document
}

/// The part of a measurement that a line of history has. The words are in the catalogue.
pub(crate) fn figures(report: &Report) -> Value {
    let short = |measurement: &Measurement| {
        let (median, min, max) = (measurement.median(), measurement.min(), measurement.max());
        (measurement.name(), json!([median, min, max]))
    };
    Value::Object(report.measurements.iter().map(short).collect())
}

fn measurement(measurement: &Measurement) -> Value {
    json!({
        "name": measurement.name(),
        "unit": measurement.unit().name(),
        "median": measurement.median(),
        "min": measurement.min(),
        "max": measurement.max(),
        "values": measurement.count(),
        "what": measurement.figure.what,
        "how": measurement.how(),
    })
}

fn row(row: &Row) -> Value {
    json!({
        "name": row.name,
        "unit": row.unit.name(),
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
    fn one_object_a_measurement() {
        let mut report = Report { subject: "x".into(), build: "musl", ..Report::default() };
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
        assert_eq!(figures(&report), json!({"idle.rss_kib": [432, 428, 436]}));
    }
}
