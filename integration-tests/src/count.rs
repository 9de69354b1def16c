//! How often an extension counted, read from what it wrote.
//!
//! In: lines of standard output. Out: the sum of the metric in those that are Embedded Metric
//! Format, and their sentences for a human. Other lines do not count.

use serde_json::Value;

use crate::env::{Line, OutputStream};

/// The metric.
pub const METRIC: &str = "aws.lambda.enhanced.out_of_memory";

/// One EMF line of the metric.
#[derive(Clone, Debug, PartialEq)]
pub struct EmfLine {
    /// The value of the metric.
    pub value: f64,
    /// The member `message`.
    pub message: String,
    /// The whole line.
    pub line: Value,
}

/// The EMF lines of the metric among these.
pub fn emf_lines(lines: &[Line]) -> Vec<EmfLine> {
    let stdout = lines.iter().filter(|line| line.stream == OutputStream::Stdout);
    stdout.filter_map(|line| parse(&line.text)).collect()
}

/// The sum of the metric over these lines.
pub fn count_emf(lines: &[Line]) -> f64 {
    emf_lines(lines).iter().fold(0.0, |sum, line| sum + line.value)
}

fn parse(line: &str) -> Option<EmfLine> {
    let line: Value = serde_json::from_str(line).ok()?;
    let directives = line.get("_aws")?.get("CloudWatchMetrics")?.as_array()?;
    let metrics = directives.iter().filter_map(|directive| directive["Metrics"].as_array());
    if !metrics.flatten().any(|metric| metric["Name"] == METRIC) {
        return None;
    }
    let value = match &line[METRIC] {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).sum(),
        value => value.as_f64()?,
    };
    let message = line["message"].as_str().unwrap_or_default().to_string();
    Some(EmfLine { value, message, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: OutputStream, text: &str) -> Line {
        Line { stream, time: jiff::Timestamp::UNIX_EPOCH, text: text.to_string() }
    }

    #[test]
    fn only_emf_of_the_metric_on_standard_output_counts() {
        let emf = concat!(
            r#"{"_aws":{"CloudWatchMetrics":[{"Metrics":"#,
            r#"[{"Name":"aws.lambda.enhanced.out_of_memory"}]}]},"#,
            r#""message":"m","aws.lambda.enhanced.out_of_memory":1}"#
        );
        let other = emf.replace("out_of_memory", "other");
        let lines = [
            line(OutputStream::Stdout, emf),
            line(OutputStream::Stderr, emf),
            line(OutputStream::Stdout, &other),
            line(OutputStream::Stdout, "aws.lambda.enhanced.out_of_memory"),
            line(OutputStream::Stdout, r#"{"aws.lambda.enhanced.out_of_memory":1}"#),
        ];
        assert!((count_emf(&lines) - 1.0).abs() < f64::EPSILON);
        assert_eq!(emf_lines(&lines)[0].message, "m");
    }
}
