//! The templates that people copy: their alarms and queries name what the agent writes.
//!
//! `templates/check` runs each template's own tool, which knows the form but not our names.

use std::fs;
use std::sync::OnceLock;

use oom_witness_core::format::datadog::UserTags;
use oom_witness_core::{Detection, Metric, Settings, Source, Witness, format};
use sandbox::{Environment, Extension, Function, ShutdownReason};
use serde_json::{Value, json};

use crate::agent::support::binary::binary;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates");

/// A report that confirms.
const REPORTS: &str = r#"[{"time":"2026-11-22T07:34:59.808Z","type":"platform.report",
    "record":{"requestId":"A","status":"error","errorType":"Runtime.OutOfMemory",
    "metrics":{"maxMemoryUsedMB":128,"memorySizeMB":128}}}]"#;

fn template(name: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{name}")).expect(name)
}

/// The line that the built agent writes to CloudWatch.
fn emf_line() -> &'static Value {
    static LINE: OnceLock<Value> = OnceLock::new();
    LINE.get_or_init(|| {
        let builder = Environment::builder().function(Function::Synthetic);
        let mut environment =
            builder.extension(Extension::new(binary())).start().expect("an environment");
        assert!(environment.send_invoke("A").expect("an event"));
        assert_eq!(environment.post_bytes(REPORTS.as_bytes()).expect("statuses"), [Some(200)]);
        environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
        let mut lines = sandbox::emf_lines(&environment.extension_lines());
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0).line
    })
}

/// The body that the agent's child sends to Datadog.
fn datadog_body() -> Value {
    let source = Source { function_name: "resize", ..Source::default() };
    let mut document = [0; format::DOCUMENT_SIZE];
    let mut length = 0;
    let mut on_detection = |detection: &Detection| {
        let metric = Metric::new(detection, &source);
        length = format::datadog::write(&[metric], &UserTags::default(), &mut document)
            .expect("it fits");
    };
    let mut witness = Witness::new(Settings::default());
    witness.feed(REPORTS.as_bytes(), 0, &mut on_detection);
    witness.end_body(0, &mut on_detection);
    serde_json::from_slice(&document[..length]).expect("JSON")
}

/// The value after each `NAME: ` or `NAME = `, without quotes and comma.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let value = |line: &'a str| {
        let rest = line.trim().trim_start_matches("- ").strip_prefix(name)?.trim_start();
        let rest = rest.strip_prefix([':', '='])?.trim();
        Some(rest.trim_end_matches(',').trim_matches('"'))
    };
    text.lines().filter_map(value).collect()
}

/// The indented block after `NAME: |` or `NAME: >-`, one line each, without its indentation.
fn block<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| {
        !["|", ">-"].iter().any(|style| line.trim_start() == format!("{name}: {style}"))
    });
    let outer = indentation(lines.next().expect(name));
    let lines: Vec<&str> = lines.take_while(|line| indentation(line) > outer).collect();
    let inner = lines.first().map_or(0, |line| indentation(line));
    lines.iter().map(|line| &line[inner..]).collect()
}

/// A query in one line, without its comments.
fn query(name: &str) -> String {
    let text = template(&format!("logs-insights/{name}.query"));
    let code = text.lines().filter(|line| !line.starts_with('#'));
    code.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_alarm_is_on_the_confirmed_counts_of_the_line() {
    const YAML: [&str; 4] = ["Namespace", "MetricName", "TreatMissingData", "notBreaching"];
    const HCL: [&str; 4] = ["namespace", "metric_name", "treat_missing_data", "notBreaching"];
    const TYPESCRIPT: [&str; 4] = [
        "namespace",
        "metricName",
        "treatMissingData",
        "cloudwatch.TreatMissingData.NOT_BREACHING",
    ];
    let line = emf_line();
    let metrics = &line["_aws"]["CloudWatchMetrics"][0];
    let dimensions = metrics["Dimensions"].as_array().expect("sets").last().expect("a set");
    assert_eq!(*dimensions, json!(["FunctionName", "Confidence"]));
    for (name, [namespace, metric, missing, not_breaching]) in [
        ("sam/template.yaml", YAML),
        ("container/template.yaml", YAML),
        ("serverless/serverless.yml", YAML),
        ("terraform/main.tf", HCL),
        ("cdk/oom-witness.ts", TYPESCRIPT),
    ] {
        let text = template(name);
        assert_eq!(values(&text, namespace), [&metrics["Namespace"]], "{name}");
        assert_eq!(values(&text, metric), [&metrics["Metrics"][0]["Name"]], "{name}");
        assert_eq!(values(&text, missing), [not_breaching], "{name}");
        let confidence = if namespace == "Namespace" {
            assert_eq!(values(&text, "Name"), ["FunctionName", "Confidence"], "{name}");
            values(&text, "Value")[1]
        } else {
            assert_eq!(values(&text, "FunctionName").len(), 1, "{name}");
            values(&text, "Confidence")[0]
        };
        assert_eq!(line["Confidence"], confidence, "{name}");
    }
}

#[test]
fn the_alarm_for_all_functions_selects_the_confirmed_counts_of_the_line() {
    let line = emf_line();
    let metrics = &line["_aws"]["CloudWatchMetrics"][0];
    let expected = format!(
        "SELECT SUM({}) FROM SCHEMA({}, FunctionName, Confidence) WHERE Confidence = '{}'",
        metrics["Metrics"][0]["Name"],
        metrics["Namespace"],
        line["Confidence"].as_str().expect("a text"),
    );
    let text = template("cloudwatch/template.yaml");
    assert_eq!(block(&text, "Expression").join(" "), expected);
    assert_eq!(values(&text, "TreatMissingData"), ["notBreaching"]);
}

#[test]
fn the_dashboard_is_json_and_has_the_queries_and_the_metric() {
    let text = template("cloudwatch/template.yaml");
    let (_, body) = text.split_once("- |\n").expect("a body");
    let (body, _) = body.split_once("- Sources:").expect("what is put into the body");
    let mut body = body.to_owned();
    for name in ["Search", "OutOfMemory", "Headroom"] {
        body = body.replace(&format!("${{{name}}}"), &block(&text, name).join(" "));
    }
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let widgets = body["widgets"].as_array().expect("widgets");
    let queries: Vec<&Value> =
        widgets.iter().filter_map(|widget| widget["properties"].get("query")).collect();
    let expected = ["out-of-memory", "headroom"]
        .map(|name| format!("SOURCE '${{Sources}}' | {}", query(name)));
    assert_eq!(queries, expected.each_ref());
    let metrics = &emf_line()["_aws"]["CloudWatchMetrics"][0];
    let expected = format!(
        "SEARCH('{{{},FunctionName,Confidence}} MetricName={}', 'Sum', 300)",
        metrics["Namespace"].as_str().expect("a text"),
        metrics["Metrics"][0]["Name"],
    );
    assert_eq!(widgets[0]["properties"]["metrics"], json!([[{ "expression": expected }]]));
}

#[test]
fn the_monitor_is_on_the_confirmed_counts_of_the_body() {
    let body = datadog_body();
    let series = &body["series"][0];
    let tags = series["tags"].as_array().expect("tags");
    for tag in ["confidence:confirmed", "functionname:resize"] {
        assert!(tags.contains(&json!(tag)), "{tag} is not in {tags:?}");
    }
    let expected = format!(
        "sum(last_5m):sum:{}{{confidence:confirmed}} by {{functionname}}.as_count() >= 1",
        series["metric"].as_str().expect("a text"),
    );
    let monitor: Value = serde_json::from_str(&template("datadog/monitor.json")).expect("JSON");
    assert_eq!(monitor["query"], expected);
}

#[test]
fn the_code_inside_the_sam_template_is_the_ready_function() {
    let code = block(&template("sam/template.yaml"), "InlineCode").join("\n");
    assert_eq!(code.trim_end(), template("function/index.py").trim_end());
}

/// Words that a query takes from nowhere but the line, the report, or what CloudWatch knows of a
/// log line
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html>).
#[test]
fn each_name_in_a_query_is_a_member_of_the_line_or_of_a_report() {
    const KNOWN: &str = "filter ispresent fields stats sum latest max avg sort desc as by bin 1h \
        100 1000000 @timestamp @type @log @memorySize @maxMemoryUsed REPORT";
    let reports: Value = serde_json::from_str(REPORTS).expect("JSON");
    let is_in_report = |word: &str| {
        let member = format!("/0/{}", word.replace('.', "/"));
        reports[0]["type"] == word || reports.pointer(&member).is_some()
    };
    for file in fs::read_dir(format!("{FOLDER}/logs-insights")).expect("a folder") {
        let name = file.expect("a file").file_name().into_string().expect("a name");
        let code = query(name.strip_suffix(".query").expect("a query"));
        let is_of_name = |c: char| c.is_alphanumeric() || "@._".contains(c);
        let words: Vec<&str> =
            code.split(|c| !is_of_name(c)).filter(|word| !word.is_empty()).collect();
        // A name after `as` is the query's own.
        let own: Vec<&str> =
            words.windows(2).filter(|pair| pair[0] == "as").map(|pair| pair[1]).collect();
        for word in &words {
            let is_known = KNOWN.split(' ').any(|known| known == *word) || own.contains(word);
            let is_sent = emf_line().get(word).is_some() || is_in_report(word);
            assert!(is_known || is_sent, "{name}: {word}");
        }
        assert!(words.len() > 10, "{code}");
    }
}
