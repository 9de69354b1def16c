//! Markdown: line widths, tables, links.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{COLUMNS_MAX, TextFile};

/// Words before a full stop that does not end a sentence.
const ABBREVIATIONS: [&str; 5] = ["e.g.", "i.e.", "etc.", "vs.", "cf."];

/// Lines that are too wide. Tables and code cannot be wrapped, and neither can a link.
pub(super) fn wide_lines(file: &TextFile) -> Vec<String> {
    let wide = |(number, line): &(usize, &str)| {
        line.chars().count() > COLUMNS_MAX
            && !is_row(line)
            && !is_link(line)
            && !is_code(&file.text, *number)
    };
    let found = lines(&file.text).filter(wide);
    found
        .map(|(number, line)| file.violation(number, &format!("{} columns", line.chars().count())))
        .collect()
}

/// Tables that GitHub shows as plain text, or with cells that are missing or left out.
pub(super) fn broken_tables(file: &TextFile) -> Vec<String> {
    let mut violations = Vec::new();
    let mut previous = "";
    // The cells of the table's first row, and its row number, while inside a table.
    let mut table: Option<(usize, usize)> = None;
    let end = (file.text.lines().count() + 1, "");
    for (number, line) in lines(&file.text).chain([end]) {
        if is_code(&file.text, number) || !is_row(line) {
            if let Some((_, 1)) = table {
                violations
                    .push(file.violation(number, "a table without a line |---| below its head"));
            }
            if table.is_some() && !line.trim().is_empty() {
                violations.push(file.violation(number, "no blank line after a table"));
            }
            table = None;
        } else {
            let found = cells(line);
            let (expected, row) = table.unwrap_or((found.len(), 0));
            if row == 0 && !previous.trim().is_empty() {
                violations.push(file.violation(number, "no blank line before a table"));
            }
            if row == 1 && !found.iter().all(|cell| is_separator(cell)) {
                violations
                    .push(file.violation(number, "a table without a line |---| below its head"));
            }
            if found.len() != expected || !line.trim_end().ends_with('|') {
                let what = format!("{} cells in a table of {expected}", found.len());
                violations.push(file.violation(number, &what));
            }
            table = Some((expected, row + 1));
        }
        previous = line;
    }
    violations
}

/// Cells that hold more than one sentence.
pub(super) fn long_cells(file: &TextFile) -> Vec<String> {
    let rows =
        lines(&file.text).filter(|(number, line)| is_row(line) && !is_code(&file.text, *number));
    rows.filter_map(|(number, line)| {
        let cell = cells(line).into_iter().find(|cell| has_two_sentences(cell))?;
        Some(file.violation(number, &format!("more than one sentence in a cell: {cell}")))
    })
    .collect()
}

/// Relative links whose file or heading does not exist.
pub(super) fn dead_links(file: &TextFile, root: &Path) -> Vec<String> {
    let folder = root.join(&file.path).parent().expect("a folder").to_path_buf();
    let mut violations = Vec::new();
    for (number, line) in lines(&file.text) {
        if is_code(&file.text, number) {
            continue;
        }
        for target in targets(line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let text = if path.is_empty() {
                Some(file.text.clone())
            } else if folder.join(path).is_dir() {
                Some(String::new())
            } else {
                // A picture has no text, but it has a name.
                fs::read(folder.join(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into())
            };
            match text {
                None => violations.push(file.violation(number, &format!("no file {path}"))),
                Some(text)
                    if !anchor.is_empty() && !anchors(&text).contains(&anchor.to_owned()) =>
                {
                    violations.push(file.violation(number, &format!("no heading {target}")));
                }
                Some(_) => {}
            }
        }
    }
    violations
}

/// The spans of code in a document, without its blocks of code: line, text.
pub(super) fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let outside = lines(text).filter(|(number, _)| !is_code(text, *number));
    outside
        .flat_map(|(number, line)| {
            line.split('`').skip(1).step_by(2).map(move |span| (number, span))
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// True if nothing but one link or picture is on the line.
fn is_link(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '>', '-', '*', '!']);
    let is_named = line.starts_with('[') && (line.ends_with(')') || line.contains("]: "));
    is_named && targets(line).len() <= 1 || line.starts_with("<http") && !line.contains(' ')
}

/// True if the line is part of a fenced block of code, or its fence.
fn is_code(text: &str, number: usize) -> bool {
    let is_fence = |line: &str| line.trim_start().starts_with("```");
    let before = text.lines().take(number - 1).filter(|line| is_fence(line)).count();
    before % 2 == 1 || text.lines().nth(number - 1).is_some_and(is_fence)
}

/// The cells of a row. GitHub ends a cell at each pipe without a backslash before it, also in code.
fn cells(line: &str) -> Vec<String> {
    let row = line.trim().trim_start_matches('|');
    let mut cells = vec![String::new()];
    let mut is_escaped = false;
    for char in row.chars() {
        if char == '|' && !is_escaped {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(char);
        }
        is_escaped = char == '\\' && !is_escaped;
    }
    if cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

fn is_separator(cell: &str) -> bool {
    cell.contains('-') && cell.chars().all(|char| "-:".contains(char))
}

fn has_two_sentences(cell: &str) -> bool {
    // What stands in code is no sentence.
    let prose = cell.split('`').step_by(2).collect::<Vec<_>>().join("x");
    let words: Vec<&str> = prose.split_whitespace().collect();
    words.windows(2).any(|pair| {
        let [word, next] = pair else { return false };
        let ends = word.trim_end_matches([')', '"', '*', '_']).ends_with(['.', '!', '?']);
        let begins = next.trim_start_matches(['(', '"', '*', '_', '[']);
        ends && begins.starts_with(char::is_uppercase) && !ABBREVIATIONS.contains(word)
    })
}

/// Where the links of a line lead.
fn targets(line: &str) -> Vec<String> {
    let prose = line.split('`').step_by(2).collect::<Vec<_>>().join("x");
    let rest = prose.split("](").skip(1);
    rest.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// The names by which GitHub lets a document's headings be linked to.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let headings =
        lines(text).filter(|(number, line)| line.starts_with('#') && !is_code(text, *number));
    headings
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
            let name: String = kept.map(|char| if char == ' ' { '-' } else { char }).collect();
            let count: &mut usize = seen.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 { name } else { format!("{name}-{}", *count - 1) }
        })
        .collect()
}

#[cfg(test)]
mod samples {
    use super::*;

    fn file(text: &str) -> TextFile {
        TextFile { path: "SAMPLE.md".into(), text: text.into() }
    }

    #[test]
    fn a_wide_line_is_found_but_not_in_tables_code_and_links() {
        let wide = "word ".repeat(21);
        assert_eq!(wide_lines(&file(&wide)), ["SAMPLE.md:1: 105 columns"]);
        let link = format!("![{wide}](picture.svg)");
        for text in [&"x".repeat(100), &format!("| {wide} |"), &format!("```\n{wide}\n```"), &link]
        {
            assert_eq!(wide_lines(&file(text)), [""; 0], "{text}");
        }
        let two = format!("[a](b) {wide} [c](d)");
        assert_eq!(wide_lines(&file(&two)).len(), 1, "text around links can be wrapped");
    }

    #[test]
    fn a_broken_table_is_found() {
        let good = "a\n\n| a | b |\n|---|:-:|\n| `c \\| d` | |\n\nb";
        assert_eq!(broken_tables(&file(good)), [""; 0]);
        for (text, what) in [
            ("a\n| a | b |\n|---|---|\n", "no blank line before"),
            ("| a | b |\n| c | d |\n", "without a line |---|"),
            ("| a | b |\n\n", "without a line |---|"),
            ("| a | b |\n|---|---|\n| c |\n", "1 cells in a table of 2"),
            ("| a | b |\n|---|---|\n| c | d | e |\n", "3 cells in a table of 2"),
            ("| a | b |\n|---|---|\n| `c | d` | e |\n", "3 cells in a table of 2"),
            ("| a | b |\n|---|---|\n| c | d\n", "2 cells in a table of 2"),
            ("| a | b |\n|---|---|\ntext\n", "no blank line after"),
        ] {
            let found = broken_tables(&file(text));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(what), "{text}: {found:?}");
        }
        // A blank line inside of a table makes a second one of its end, without a head.
        let split = "| a | b |\n|---|---|\n\n| c | d |\n";
        assert_eq!(broken_tables(&file(split)).len(), 1);
    }

    #[test]
    fn a_cell_with_two_sentences_is_found() {
        for cell in ["One. Two", "It works. `x` fails. It goes on", "(So.) But", "Why? Because"] {
            assert_eq!(long_cells(&file(&format!("| a | {cell} |"))).len(), 1, "{cell}");
        }
        for cell in ["One.", "1.5 MB. of it", "e.g. Python", "`A. B`", "libc.so. `A`", "v1.2 A"] {
            assert_eq!(long_cells(&file(&format!("| a | {cell} |"))), [""; 0], "{cell}");
        }
        assert_eq!(long_cells(&file("One. Two, outside of a table.")), [""; 0]);
    }

    #[test]
    fn a_dead_link_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let check = |text: &str| dead_links(&file(text), root);
        for text in [
            "# A heading: `it`, (1)\n[here](#a-heading-it-1)",
            "# Twice\n# Twice\n[here](#twice-1)",
            "[file](Cargo.toml) and [folder](it) and [site](https://example.com/none#none)",
            "`[code](nowhere)`",
            "```\n[code](nowhere)\n```",
        ] {
            assert_eq!(check(text), [""; 0], "{text}");
        }
        for (text, what) in [
            ("[file](nowhere.md)", "no file nowhere.md"),
            ("# A\n[here](#b)", "no heading #b"),
            ("[a](Cargo.toml) [b](it/none.rs)", "no file it/none.rs"),
            ("```\n# A\n```\n[here](#a)", "no heading #a"),
        ] {
            let found = check(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(what), "{text}: {found:?}");
        }
    }
}
