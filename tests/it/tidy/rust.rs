//! Rust: line widths, the length of functions, and the modules of each target.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use serde_json::Value;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ImplItemFn, Item, ItemFn, ItemMod, Lit, Meta, Signature, TraitItemFn,
};

use super::{COLUMNS_MAX, FUNCTION_LINES_MAX, TextFile};

/// Lines that are too wide. Some lines cannot be wrapped: an address alone in a comment, a row of a
/// table in a comment, and a text literal, which is often a real payload.
pub(super) fn wide_lines(file: &TextFile) -> Vec<String> {
    let literals = text_literals(&file.text);
    let is_literal = |number| literals.iter().any(|lines| lines.contains(&number));
    let lines = file.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let wide = lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    let wide = wide.filter(|(_, line)| !is_address(line) && !is_table_row(line));
    wide.filter(|(number, _)| !is_literal(*number))
        .map(|(number, line)| file.violation(number, &format!("{} columns", line.chars().count())))
        .collect()
}

fn is_address(line: &str) -> bool {
    let line = line.trim_start();
    let text = line.trim_start_matches(['/', '!']).trim_start().trim_start_matches(['(', '<']);
    line.starts_with("//") && text.starts_with("http") && !text.contains(' ')
}

fn is_table_row(line: &str) -> bool {
    let line = line.trim_start();
    ["//! |", "/// |"].iter().any(|start| line.starts_with(start)) && line.ends_with('|')
}

/// The lines of each text literal. A comment of documentation is none, although it is one to the
/// parser.
fn text_literals(text: &str) -> Vec<RangeInclusive<usize>> {
    fn collect(tokens: TokenStream, lines: &mut Vec<RangeInclusive<usize>>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => collect(group.stream(), lines),
                TokenTree::Literal(literal) => {
                    let (source, span) = (literal.span().source_text(), literal.span());
                    let start = source.unwrap_or_default();
                    let is_text = ["\"", "r\"", "r#", "b\"", "br"];
                    if is_text.iter().any(|prefix| start.starts_with(prefix)) {
                        lines.push(span.start().line..=span.end().line);
                    }
                }
                _ => {}
            }
        }
    }
    let mut lines = Vec::new();
    if let Ok(tokens) = text.parse::<TokenStream>() {
        collect(tokens, &mut lines);
    }
    lines
}

/// Functions that are too long.
pub(super) fn long_functions(file: &TextFile) -> Vec<String> {
    let mut lengths = Lengths::default();
    lengths.visit_file(&parse(&file.text, &file.path));
    let long = lengths.0.into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(line, name, lines)| file.violation(line, &format!("{name} has {lines} lines")))
        .collect()
}

/// The line, the name and the number of lines of each function.
#[derive(Default)]
struct Lengths(Vec<(usize, String, usize)>);

impl Lengths {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.0.push((first, signature.ident.to_string(), last - first + 1));
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Files that no target leads to, whichever features are on.
pub(super) fn dead_files(root: &Path, files: &[TextFile]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    for file in first_files(root) {
        Module::load(&file, &mut reached);
    }
    let dead = files.iter().filter(|file| !reached.contains(&root.join(&file.path)));
    dead.map(|file| file.violation(1, "no target leads to this file")).collect()
}

/// The first file of every target of every manifest, as cargo sees them.
fn first_files(root: &Path) -> Vec<PathBuf> {
    let mut manifests = BTreeSet::new();
    super::walk(root, "toml", &mut manifests);
    let manifests = manifests.iter().filter(|path| path.ends_with("Cargo.toml"));
    manifests.flat_map(|manifest| targets(manifest)).collect()
}

fn targets(manifest: &Path) -> Vec<PathBuf> {
    let mut cargo = sandbox::cargo();
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"]);
    let output = cargo.arg(manifest).output().expect("cargo");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", manifest.display());
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let targets =
        packages.iter().flat_map(|package| package["targets"].as_array().expect("targets"));
    targets.map(|target| target["src_path"].as_str().expect("a path").into()).collect()
}

/// A module: its functions and the modules below it.
#[derive(Default)]
pub(super) struct Module {
    /// By name; true for a test.
    pub(super) functions: BTreeMap<String, bool>,
    pub(super) modules: BTreeMap<String, Self>,
}

impl Module {
    /// Reads a target from its first file. Adds every file that belongs to it to `reached`.
    pub(super) fn load(file: &Path, reached: &mut BTreeSet<PathBuf>) -> Self {
        let folder = file.parent().expect("a folder");
        Self::load_file(file, folder, reached)
    }

    /// Reads the module of one file, whose own modules lie in `folder`.
    fn load_file(file: &Path, folder: &Path, reached: &mut BTreeSet<PathBuf>) -> Self {
        reached.insert(file.to_path_buf());
        let text = fs::read_to_string(file).unwrap_or_else(|error| {
            panic!("{}: {error}", file.display());
        });
        Self::of_items(&parse(&text, file).items, file, folder, reached)
    }

    fn of_items(
        items: &[Item],
        file: &Path,
        folder: &Path,
        reached: &mut BTreeSet<PathBuf>,
    ) -> Self {
        let mut module = Self::default();
        for item in items {
            match item {
                Item::Fn(function) => {
                    let is_test = function.attrs.iter().any(is_test);
                    module.functions.insert(function.sig.ident.to_string(), is_test);
                }
                Item::Mod(declared) => {
                    let below = Self::of_declaration(declared, file, folder, reached);
                    module.modules.insert(declared.ident.to_string(), below);
                }
                Item::Macro(called) if called.mac.path.is_ident("include") => {
                    let path: syn::LitStr = called.mac.parse_body().expect("a path");
                    let included = file.parent().expect("a folder").join(path.value());
                    reached.insert(included.canonicalize().expect("an included file"));
                }
                // A macro may declare modules: each word that names a file beside this one.
                Item::Macro(called) => {
                    for token in called.mac.tokens.clone() {
                        let TokenTree::Ident(name) = token else { continue };
                        let (name, below) = (name.to_string(), folder.join(name.to_string()));
                        let file = folder.join(format!("{name}.rs"));
                        if file.is_file() && !module.modules.contains_key(&name) {
                            let declared = Self::load_file(&file, &below, reached);
                            module.modules.insert(name, declared);
                        }
                    }
                }
                _ => {}
            }
        }
        module
    }

    fn of_declaration(
        declared: &ItemMod,
        file: &Path,
        folder: &Path,
        reached: &mut BTreeSet<PathBuf>,
    ) -> Self {
        let name = declared.ident.to_string();
        let below = folder.join(&name);
        if let Some((_, items)) = &declared.content {
            // Its files, if it has any, lie in a folder of its name.
            return Self::of_items(items, file, &below, reached);
        }
        if let Some(path) = declared.attrs.iter().find_map(path_attribute) {
            let file = file.parent().expect("a folder").join(path);
            return Self::load_file(&file, file.parent().expect("a folder"), reached);
        }
        let beside = folder.join(format!("{name}.rs"));
        let file = if beside.is_file() { beside } else { below.join("mod.rs") };
        Self::load_file(&file, &below, reached)
    }

    /// True if this module or one below it has a test.
    pub(super) fn has_tests(&self) -> bool {
        self.functions.values().any(|is_test| *is_test)
            || self.modules.values().any(Self::has_tests)
    }
}

/// `#[test]`, and those of runtimes, such as `#[tokio::test]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(value) = &pair.value else { return None };
    match &value.lit {
        Lit::Str(path) if pair.path.is_ident("path") => Some(path.value()),
        _ => None,
    }
}

pub(super) fn parse(text: &str, path: &Path) -> syn::File {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod samples {
    use super::*;

    fn file(text: String) -> TextFile {
        TextFile { path: "sample.rs".into(), text }
    }

    #[test]
    fn a_wide_line_is_found_unless_it_is_an_address() {
        let word = "x".repeat(101);
        let found = wide_lines(&file(format!("// short\n// {word}\n")));
        assert_eq!(found, ["sample.rs:2: 104 columns"]);
        assert_eq!(wide_lines(&file(format!("//! (<https://{word}>)\n"))), [""; 0]);
        assert_eq!(wide_lines(&file(format!("//! see https://{word}\n"))).len(), 1);
        assert_eq!(wide_lines(&file(format!("// {}\n", "ä".repeat(97)))), [""; 0]);
        assert_eq!(wide_lines(&file(format!("/// {word}\nfn f() {{}}\n"))).len(), 1);
    }

    #[test]
    fn text_literals_and_tables_may_be_wide() {
        let word = "x".repeat(101);
        assert_eq!(wide_lines(&file(format!("const A: &str = r#\"{word}\"#;\n"))), [""; 0]);
        assert_eq!(wide_lines(&file(format!("const A: &str = \"\\\n{word}\";\n"))), [""; 0]);
        assert_eq!(wide_lines(&file(format!("//! | a | {word} |\nfn f() {{}}\n"))), [""; 0]);
        assert_eq!(
            wide_lines(&file(format!("fn f() {{ {word}(\"a\") }}\n").replace("(\"a\")", "()")))
                .len(),
            1
        );
    }

    #[test]
    fn a_long_function_is_found_wherever_it_is() {
        let body = |lines: usize| "\n".repeat(lines - 1);
        for (before, after) in [
            ("", ""),
            ("/// Documentation does not count.\n#[inline]\n", ""),
            ("mod a { ", " }"),
            ("impl A { ", " }"),
            ("trait A { ", " }"),
            ("fn outer() { ", " }"),
        ] {
            let with = |lines| file(format!("{before}fn f() {{{}}}{after}\n", body(lines)));
            assert_eq!(long_functions(&with(70)), [""; 0], "{before}");
            let found = long_functions(&with(71));
            assert!(found.last().expect("a violation").contains("f has 71 lines"), "{found:?}");
        }
    }

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        for (path, text) in [
            ("Cargo.toml", "[package]\nname = \"sample\"\nedition = \"2024\"\n[workspace]\n"),
            (
                "src/lib.rs",
                "mod a; mod b { mod c; } #[path = \"e.rs\"] mod d;\ninclude!(\"f.rs\");\nlist! { g::G, }",
            ),
            ("src/a/mod.rs", "#[cfg(any())] mod tests;"),
            ("src/a/tests.rs", "#[test] fn holds() {}"),
            ("src/b/c.rs", ""),
            ("src/e.rs", ""),
            ("src/f.rs", ""),
            ("src/g.rs", ""),
            ("src/dead.rs", ""),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let mut paths = BTreeSet::new();
        crate::tidy::walk(&root, "rs", &mut paths);
        let relative = |path: &PathBuf| path.strip_prefix(&root).expect("below").to_path_buf();
        let files: Vec<TextFile> = paths
            .iter()
            .map(|path| TextFile { path: relative(path), text: String::new() })
            .collect();
        assert_eq!(dead_files(&root, &files), ["src/dead.rs:1: no target leads to this file"]);
        let module = Module::load(&root.join("src/lib.rs"), &mut BTreeSet::new());
        assert!(module.modules["a"].has_tests() && !module.modules["b"].has_tests());
    }
}
