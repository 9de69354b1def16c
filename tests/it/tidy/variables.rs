//! Environment variables: README's table, `oom-witness --help` and the agent's code name the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use syn::LitStr;
use syn::visit::Visit;

use super::markdown::code_spans;
use super::rust::parse;
use crate::agent::support::binary::binary;

/// What is named in one place and not in another.
pub(super) fn differences(root: &Path) -> Vec<String> {
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let help = Command::new(binary()).arg("--help").env_clear().output().expect("the agent");
    let help = String::from_utf8(help.stdout).expect("text");
    let mut in_code = BTreeSet::new();
    for file in super::files("rs") {
        let is_shipped = file.path.starts_with("agent/src") && !file.path.ends_with("tests.rs");
        if is_shipped {
            in_code.extend(in_source(&file.text, &file.path));
        }
    }
    assert!(!in_code.is_empty(), "the agent reads no variable");
    compare(&[("README.md", in_table(&readme)), ("--help", in_help(&help)), ("agent/src", in_code)])
}

fn compare(places: &[(&str, BTreeSet<String>)]) -> Vec<String> {
    let all: BTreeSet<&String> = places.iter().flat_map(|(_, names)| names).collect();
    let missing = |name: &String| {
        let name = name.clone();
        let without = places.iter().filter(move |(_, names)| !names.contains(&name));
        without.map(|(place, _)| *place).collect::<Vec<_>>()
    };
    let found = all.into_iter().map(|name| (name, missing(name)));
    found
        .filter(|(_, places)| !places.is_empty())
        .map(|(name, places)| format!("{name} is missing in {}", places.join(" and ")))
        .collect()
}

/// In the first column of the table below `## Variables`.
fn in_table(readme: &str) -> BTreeSet<String> {
    let section = readme.split("\n## ").find(|section| section.starts_with("Variables"));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').next());
    cells
        .flat_map(code_spans)
        .map(|(_, name)| name.to_owned())
        .filter(|name| is_ours(name))
        .collect()
}

fn in_help(help: &str) -> BTreeSet<String> {
    let words = help.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| is_ours(word)).map(str::to_owned).collect()
}

/// Whole texts of the code, as they are given to whoever reads the environment.
fn in_source(text: &str, path: &Path) -> BTreeSet<String> {
    let mut texts = Texts::default();
    texts.visit_file(&parse(text, path));
    texts.0.into_iter().filter(|text| is_ours(text)).collect()
}

#[derive(Default)]
struct Texts(Vec<String>);

impl<'ast> Visit<'ast> for Texts {
    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.0.push(text.value());
    }
}

/// A variable that a user may set. Lambda sets its own, Cargo sets those of the build, and small
/// letters are a second spelling.
fn is_ours(name: &str) -> bool {
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_word = name.contains('_') && name.bytes().all(is_upper);
    is_word && !["AWS_", "CARGO_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod samples {
    use super::*;

    #[test]
    fn a_variable_that_one_place_lacks_is_found() {
        let readme = "# a\n## Variables\n\n| Variable | |\n|---|---|\n\
                      | `DD_A`, `NO_PROXY` | `DD_B` |\n\n## Other\n\n| `DD_C` | |\n";
        let table = in_table(readme);
        assert_eq!(table.iter().map(String::as_str).collect::<Vec<_>>(), ["DD_A", "NO_PROXY"]);
        let help = in_help("Variables:\n    DD_A, DD_D    Datadog's\n    HOME\n");
        assert_eq!(help.iter().map(String::as_str).collect::<Vec<_>>(), ["DD_A", "DD_D"]);
        let code =
            "fn f() { get(\"DD_A\"); get(\"no_proxy\"); let _ = [\"NO_PROXY\", \"DD_ is cut\"]; }";
        let code = in_source(code, Path::new("sample.rs"));
        assert_eq!(code.iter().map(String::as_str).collect::<Vec<_>>(), ["DD_A", "NO_PROXY"]);
        assert_eq!(
            compare(&[("README.md", table), ("--help", help), ("agent/src", code)]),
            ["DD_D is missing in README.md and agent/src", "NO_PROXY is missing in --help"]
        );
    }
}
