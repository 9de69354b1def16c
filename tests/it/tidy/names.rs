//! Names in documents: every test, fuzz target and file that they name exists.
//!
//! In SPECIFICATION.md a name in code has one of these forms. `CRATE::module::test` is a test and
//! `CRATE::module` a module that holds tests; the crates are those of [`CRATES`]. `fuzz/NAME` is a
//! fuzz target. A path that begins with a folder of the root is a path, also in other documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::markdown::code_spans;
use super::rust::Module;

/// A crate as SPECIFICATION.md calls it, and its first file.
const CRATES: [(&str, &str); 8] = [
    ("agent", "agent/src/main.rs"),
    ("core", "core/src/lib.rs"),
    ("footprint", "tests/footprint/main.rs"),
    ("it", "tests/it/main.rs"),
    ("layer", "agent/layer/src/main.rs"),
    ("sandbox", "integration-tests/src/lib.rs"),
    ("sandbox_it", "integration-tests/tests/it/main.rs"),
    ("size_report", "size-report/src/main.rs"),
];

/// The crate that has no test harness: each of its functions is a test.
const WITHOUT_HARNESS: &str = "footprint";

/// Documents whose paths must exist.
const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "agent/MEMORY.md"];

/// The paths in other documents that lead nowhere.
pub(super) fn missing_paths(root: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).expect(document);
        for (line, name) in code_spans(&text) {
            if !is_command(name)
                && let Some(why) = path_problem(name, root)
            {
                missing.push(format!("{document}:{line}: {name}: {why}"));
            }
        }
    }
    missing
}

/// The names in SPECIFICATION.md that lead nowhere.
pub(super) fn missing_names(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("SPECIFICATION.md")).expect("SPECIFICATION.md");
    let load = |(name, file): (&'static str, &str)| {
        (name, Module::load(&root.join(file), &mut BTreeSet::new()))
    };
    let crates = CRATES.map(load).into();
    let spans = code_spans(&text);
    assert!(spans.iter().any(|(_, span)| span.starts_with("it::")), "no test is named");
    let missing = spans.into_iter().filter_map(|(line, name)| {
        let why = problem(name, &crates, root)?;
        Some(format!("SPECIFICATION.md:{line}: {name}: {why}"))
    });
    missing.chain(split_spans(&text)).collect()
}

/// Lines with half a span of code: what stands in it would not be looked at.
fn split_spans(text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let split = lines.filter(|(_, line)| line.matches('`').count() % 2 == 1);
    split.map(|(index, _)| format!("SPECIFICATION.md:{}: half a span of code", index + 1)).collect()
}

/// Why a name leads nowhere; none if it does, or if it is no name of a test or file.
fn problem(
    name: &str,
    crates: &BTreeMap<&'static str, Module>,
    root: &Path,
) -> Option<&'static str> {
    if is_command(name) {
        return None;
    }
    if let Some(target) = name.strip_prefix("fuzz/").filter(|rest| !rest.contains('/')) {
        let file = root.join("fuzz/fuzz_targets").join(target).with_extension("rs");
        return (!file.is_file()).then_some("no such fuzz target");
    }
    if let Some((first, _)) = name.split_once("::") {
        return match crates.get(first) {
            Some(module) => test_problem(name, module, first == WITHOUT_HARNESS),
            None => Some("no such crate: see the forms at the top of SPECIFICATION.md"),
        };
    }
    path_problem(name, root)
}

/// True for a command or a value, which is no name.
fn is_command(name: &str) -> bool {
    name.contains(|char: char| !char.is_ascii_alphanumeric() && !":_-./".contains(char))
}

/// What is built into `dist/` need not be there, and NAME stands for any name.
fn path_problem(name: &str, root: &Path) -> Option<&'static str> {
    let (first, rest) = name.split_once('/')?;
    let is_ours = !["", "dist"].contains(&first) && root.join(first).exists();
    let is_any = rest.contains("NAME");
    (is_ours && !is_any && !root.join(name).exists()).then_some("no such file")
}

fn test_problem(name: &str, module: &Module, takes_any: bool) -> Option<&'static str> {
    let mut module = module;
    let mut segments = name.split("::").skip(1).peekable();
    while let Some(segment) = segments.next() {
        if let Some(below) = module.modules.get(segment) {
            module = below;
        } else if segments.peek().is_none() {
            let is_test = module.functions.get(segment);
            return (!is_test.is_some_and(|is_test| *is_test || takes_any))
                .then_some("no such test");
        } else {
            return Some("no such module");
        }
    }
    (!module.has_tests()).then_some("a module without a test")
}

#[cfg(test)]
mod samples {
    use super::*;

    #[test]
    fn a_name_that_leads_nowhere_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("fuzz/fuzz_targets")).expect("a folder");
        fs::write(root.join("fuzz/fuzz_targets/next.rs"), "").expect("a file");
        let text = "#[test] fn holds() {} fn helps() {} mod a { #[test] fn too() {} } mod b {}";
        fs::write(root.join("lib.rs"), text).expect("a file");
        let load = |name| (name, Module::load(&root.join("lib.rs"), &mut BTreeSet::new()));
        let crates = ["it", WITHOUT_HARNESS].map(load).into();
        let check = |name| problem(name, &crates, root);
        for name in [
            "it::holds",
            "it::a",
            "it::a::too",
            "footprint::helps",
            "fuzz/next",
            "fuzz/fuzz_targets/next.rs",
            "fuzz/…",
            "cargo bench --bench none",
            "/proc/vmstat",
            "quiet.crate_percent",
        ] {
            assert_eq!(check(name), None, "{name}");
        }
        assert_eq!(check("it::helps"), Some("no such test"));
        assert_eq!(check("it::gone"), Some("no such test"));
        assert_eq!(check("it::a::gone"), Some("no such test"));
        assert_eq!(check("it::gone::too"), Some("no such module"));
        assert_eq!(check("it::b"), Some("a module without a test"));
        assert_eq!(check("fuzz/gone"), Some("no such fuzz target"));
        assert!(
            check("detector::tests::holds").is_some_and(|why| why.starts_with("no such crate"))
        );
        assert_eq!(split_spans("`a`\n`it::a\n").len(), 1);
        fs::create_dir(root.join("docs")).expect("a folder");
        assert_eq!(check("fuzz/fuzz_targets/gone.rs"), Some("no such file"));
        assert_eq!(check("docs/gone.md"), Some("no such file"));
        assert_eq!(check("docs/NAME.md"), None);
    }
}
