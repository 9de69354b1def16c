//! The templates that people copy: their alarms and queries name what the core writes.

use std::fs;

use oom_witness_core::{Detection, Metric, Settings, Source, Witness, format};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates");

fn template(name: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{name}")).expect(name)
}

/// The line of a confirmed detection.
fn emf_line() -> Value {
    let body = br#"[{"time":"2026-11-22T07:34:59.808Z","type":"platform.report",
        "record":{"requestId":"A","status":"error","errorType":"Runtime.OutOfMemory",
        "metrics":{"maxMemoryUsedMB":128,"memorySizeMB":128}}}]"#;
    let source = Source { function_name: "resize", ..Source::default() };
    let mut document = [0; format::DOCUMENT_SIZE];
    let mut length = 0;
    let mut on_detection = |detection: &Detection| {
        let metric = Metric::new(detection, &source);
        length = format::emf::write(&metric, "OomWitness", &mut document).expect("it fits");
    };
    let mut witness = Witness::new(Settings::default());
    witness.feed(body, 0, &mut on_detection);
    witness.end_body(0, &mut on_detection);
    serde_json::from_slice(&document[..length]).expect("one line")
}

/// The value after `NAME: ` or `NAME = `, without quotes.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let value = |line: &'a str| {
        let rest = line.trim().trim_start_matches("- ").strip_prefix(name)?.trim_start();
        let rest = rest.strip_prefix([':', '='])?.trim();
        Some(rest.trim_matches('"'))
    };
    text.lines().filter_map(value).collect()
}

#[test]
fn each_alarm_is_on_the_confirmed_counts_of_the_line() {
    let line = emf_line();
    let metrics = &line["_aws"]["CloudWatchMetrics"][0];
    let dimensions = metrics["Dimensions"].as_array().expect("sets").last().expect("a set");
    assert_eq!(*dimensions, serde_json::json!(["FunctionName", "Confidence"]));
    let (sam, terraform) = (template("sam/template.yaml"), template("terraform/main.tf"));
    let (namespace, name) = (&metrics["Namespace"], &metrics["Metrics"][0]["Name"]);
    assert_eq!(values(&sam, "Namespace"), [namespace]);
    assert_eq!(values(&sam, "MetricName"), [name]);
    assert_eq!(values(&sam, "Name"), ["FunctionName", "Confidence"]);
    assert_eq!(values(&sam, "Value")[1], line["Confidence"]);
    assert_eq!(values(&terraform, "namespace"), [namespace]);
    assert_eq!(values(&terraform, "metric_name"), [name]);
    assert_eq!(values(&terraform, "FunctionName").len(), 1);
    assert_eq!(values(&terraform, "Confidence"), [&line["Confidence"]]);
    for (template, missing, expected) in [
        (&sam, "TreatMissingData", "notBreaching"),
        (&terraform, "treat_missing_data", "notBreaching"),
    ] {
        assert_eq!(values(template, missing), [expected]);
    }
}

/// Words that a query takes from nowhere but the line, or from what CloudWatch knows of a report
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html>).
#[test]
fn each_name_in_a_query_is_a_member_of_the_line_or_of_a_report() {
    const LANGUAGE: [&str; 13] = [
        "filter",
        "ispresent",
        "stats",
        "sum",
        "latest",
        "max",
        "avg",
        "sort",
        "desc",
        "as",
        "by",
        "REPORT",
        "1000000",
    ];
    const REPORT: [&str; 6] =
        ["@timestamp", "@type", "@log", "@memorySize", "@maxMemoryUsed", "100"];
    let line = emf_line();
    for name in ["out-of-memory", "headroom"] {
        let query = template(&format!("logs-insights/{name}.query"));
        let code = query.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        let code = code.join("\n");
        let is_of_name = |c: char| c.is_alphanumeric() || "@._".contains(c);
        let words: Vec<&str> =
            code.split(|c| !is_of_name(c)).filter(|word| !word.is_empty()).collect();
        // A name after `as` is the query's own.
        let own: Vec<&str> =
            words.windows(2).filter(|pair| pair[0] == "as").map(|pair| pair[1]).collect();
        for word in &words {
            let is_known = LANGUAGE.contains(word) || REPORT.contains(word) || own.contains(word);
            assert!(is_known || line.get(word).is_some(), "{name}: {word} is not in {line}");
        }
        assert!(words.len() > 10, "{query}");
    }
}
