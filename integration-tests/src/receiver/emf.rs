//! CloudWatch, which reads EMF lines from standard output. Its published JSON schema says which it
//! takes.

use std::io;
use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde_json::Value;

use super::Point;
use crate::count::{EmfLine, emf_lines};
use crate::env::Line;

/// The points of these lines. An error if CloudWatch does not take one.
pub(super) fn points(lines: &[Line]) -> io::Result<Vec<Point>> {
    emf_lines(lines).iter().map(point).collect()
}

fn point(emf: &EmfLine) -> io::Result<Point> {
    if let Err(error) = validator().validate(&emf.line) {
        let why = format!("not EMF at {}: {error}", error.instance_path());
        return Err(io::Error::other(why));
    }
    let members = emf.line.as_object().into_iter().flatten();
    let label = |(name, value): (&String, &Value)| Some(format!("{name}:{}", value.as_str()?));
    Ok(Point { value: emf.value, labels: members.filter_map(label).collect() })
}

fn validator() -> &'static Validator {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| {
        let schema = include_str!("../../data/emf.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("JSON");
        // Later drafts do not allow its `$id`s.
        jsonschema::options().with_draft(Draft::Draft7).build(&schema).expect("a schema")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OutputStream;

    fn line(text: String) -> [Line; 1] {
        [Line { stream: OutputStream::Stdout, time: jiff::Timestamp::UNIX_EPOCH, text }]
    }

    #[test]
    fn a_line_that_cloudwatch_does_not_take_is_an_error() {
        let good = concat!(
            r#"{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"N","Dimensions":[["F"]],"#,
            r#""Metrics":[{"Name":"aws.lambda.enhanced.out_of_memory","Unit":"Count"}]}]},"F":"f","#,
            r#""aws.lambda.enhanced.out_of_memory":2}"#
        );
        let expected = [Point { value: 2.0, labels: vec!["F:f".into()] }];
        assert_eq!(points(&line(good.into())).expect("points"), expected);
        for (from, to) in [
            (r#""Timestamp":1,"#, ""),
            (r#""Timestamp":1"#, r#""Timestamp":"1""#),
            (r#""Namespace":"N""#, r#""Namespace":"""#),
            (r#"[["F"]]"#, "[]"),
            (r#"[["F"]]"#, r#"["F"]"#),
            (r#""Unit":"Count""#, r#""Unit":"Counts""#),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            points(&line(bad)).expect_err(to);
        }
    }
}
