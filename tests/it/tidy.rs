//! Style: what a machine can check of the documents and of the code's shape.
//!
//! Goes in: every Markdown and Rust file of this repository. Comes out: one line for each
//! violation, `file:line: what is wrong`. Each check also fails on a bad sample, in its module.

mod markdown;
mod names;
mod rust;
mod variables;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most columns of a line, in Markdown and in Rust.
const COLUMNS_MAX: usize = 100;

/// The most lines of a function, from its `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Folders that hold no file of ours, beside those whose name begins with a dot.
const FOREIGN: [&str; 3] = ["target", "dist", "node_modules"];

/// A file of this repository, by its path from the root.
struct TextFile {
    path: PathBuf,
    text: String,
}

impl TextFile {
    /// A violation in this file.
    fn violation(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

/// All files whose name ends in `.EXTENSION`, in the order of their paths.
fn files(extension: &str) -> Vec<TextFile> {
    let mut paths = BTreeSet::new();
    walk(root(), extension, &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a text in UTF-8");
        TextFile { path: path.strip_prefix(root()).expect("a file below the root").into(), text }
    };
    paths.into_iter().map(read).collect()
}

fn walk(folder: &Path, extension: &str, paths: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
            walk(&path, extension, paths);
        } else if kind.is_file() && path.extension().is_some_and(|found| found == extension) {
            paths.insert(path);
        }
    }
}

/// Runs a check on each file and prints every violation.
fn check_files(files: &[TextFile], check: impl Fn(&TextFile) -> Vec<String>) {
    assert!(!files.is_empty(), "no file was found");
    assert_clean(&files.iter().flat_map(check).collect::<Vec<_>>());
}

fn assert_clean(violations: &[String]) {
    let count = violations.len();
    assert!(violations.is_empty(), "{count} violations:\n{}\n", violations.join("\n"));
}

#[test]
fn markdown_lines_have_at_most_100_columns() {
    check_files(&files("md"), markdown::wide_lines);
}

#[test]
fn markdown_tables_render() {
    check_files(&files("md"), markdown::broken_tables);
}

#[test]
fn a_table_cell_holds_at_most_one_sentence() {
    check_files(&files("md"), markdown::long_cells);
}

#[test]
fn markdown_links_lead_to_a_file_and_a_heading() {
    check_files(&files("md"), |file| markdown::dead_links(file, root()));
}

#[test]
fn rust_lines_have_at_most_100_columns() {
    check_files(&files("rs"), rust::wide_lines);
}

#[test]
fn functions_have_at_most_70_lines() {
    check_files(&files("rs"), rust::long_functions);
}

#[test]
fn every_rust_file_is_compiled() {
    assert_clean(&rust::dead_files(root(), &files("rs")));
}

#[test]
fn everything_that_the_specification_names_exists() {
    assert_clean(&names::missing_names(root()));
}

#[test]
fn paths_in_documents_exist() {
    assert_clean(&names::missing_paths(root()));
}

#[test]
fn readme_help_and_code_name_the_same_variables() {
    assert_clean(&variables::differences(root()));
}
