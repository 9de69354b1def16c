//! No secret may be in what an extension writes, in its journal or in a command line.
//!
//! In: the variables of the extensions, of which some are secret. Out: where one was found.

use std::collections::BTreeSet;
use std::fs;

use super::supervisor::{CollectedOutput, Supervisor};
use crate::procfs;
use crate::sync::lock;

impl Supervisor {
    /// Where a secret of an extension was written so far. `None`: nowhere.
    pub(crate) fn written_secret(&self) -> Option<String> {
        let journal = fs::read(self.tmp.path().join(JOURNAL)).unwrap_or_default();
        find(&self.secrets, &lock(&self.collected), &String::from_utf8_lossy(&journal))
    }

    /// Notes the command lines of the environment's processes now: a secret there is visible to
    /// all of them.
    pub(super) fn note_command_lines(&self) {
        let pids = self.cgroup.as_ref().map(|cgroup| cgroup.pids()).unwrap_or_default();
        let lines = pids.into_iter().filter_map(procfs::command_line);
        lock(&self.collected).command_lines.extend(lines);
    }
}

/// The secrets among these variables. In a list of headers, `name=value,name=value`, they are the
/// values.
pub(super) fn secrets(variables: &[(String, String)]) -> BTreeSet<String> {
    let secret = variables.iter().filter(|(name, _)| SECRET.contains(&name.as_str()));
    let values = secret.flat_map(|(name, value)| {
        let is_list = name.ends_with("_HEADERS");
        let headers = value.split(',').filter_map(|header| Some(header.split_once('=')?.1));
        let all: Vec<&str> = if is_list { headers.collect() } else { vec![value] };
        all
    });
    values.filter(|value| value.len() >= LENGTH_MIN).map(str::to_string).collect()
}

fn find(secrets: &BTreeSet<String>, output: &CollectedOutput, journal: &str) -> Option<String> {
    let lines = output.extension.iter().map(|line| ("a line", line.text.as_str()));
    let command_lines = output.command_lines.iter().map(|line| ("a command line", line.as_str()));
    let mut places = lines.chain(command_lines).chain([("the journal", journal)]);
    let has_secret = |text: &str| secrets.iter().any(|secret| text.contains(secret));
    let (place, text) = places.find(|(_, text)| has_secret(text))?;
    Some(format!("a secret is in {place}: {text}"))
}

/// The variables whose values nobody but the extension may see.
const SECRET: [&str; 6] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "DD_API_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
];

/// A shorter value could be part of any text.
const LENGTH_MIN: usize = 7;

/// The last part of `OOM_WITNESS_STATE`.
pub(super) const JOURNAL: &str = "oom-witness";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Line, OutputStream};

    #[test]
    fn a_secret_is_found_in_each_place() {
        let secret = "0123456789abcdef";
        let variable = |name: &str, value: String| (name.to_string(), value);
        let secrets = secrets(&[
            variable("DD_API_KEY", "k".into()),
            variable("DD_SITE", "a-long-name.example.com".into()),
            variable("OTEL_EXPORTER_OTLP_HEADERS", format!("a-long-name=short,api-key={secret}")),
        ]);
        assert_eq!(secrets, BTreeSet::from([secret.to_string()]));
        let text = format!("key {secret}");
        let time = jiff::Timestamp::UNIX_EPOCH;
        let line = Line { stream: OutputStream::Stderr, time, text: text.clone() };
        let none = CollectedOutput::default;
        let written = CollectedOutput { extension: vec![line], ..none() };
        let visible = CollectedOutput { command_lines: [text.clone()].into(), ..none() };
        assert_eq!(find(&secrets, &none(), "a short text"), None);
        for (output, journal, place) in
            [(written, "", "a line"), (visible, "", "a command line"), (none(), &*text, "journal")]
        {
            let found = find(&secrets, &output, journal).expect(place);
            assert!(found.contains(place), "{found}");
        }
    }
}
