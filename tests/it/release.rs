//! What refuses a release: `.ci/check-version`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A copy of what the script reads, with one text replaced in one file. The changelog has a day.
fn copy(file: &str, from: &str, to: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(ROOT);
    let workspace = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    let members = workspace.lines().filter_map(|line| line.trim().strip_prefix('"'));
    let members = members.filter_map(|line| line.split_once('"'));
    let manifests = members.map(|(member, _)| format!("{member}/Cargo.toml"));
    let others = ["Cargo.toml", "Cargo.lock", "CHANGELOG.md", ".ci/check-version"];
    for name in manifests.chain(others.map(String::from)) {
        let (original, copy) = (root.join(&name), folder.path().join(&name));
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        fs::copy(&original, &copy).expect("a copy");
        if name == "CHANGELOG.md" {
            let text = fs::read_to_string(&copy).expect("a text");
            let (start, rest) = text.split_once("\n## ").expect("a version");
            let (_, rest) = rest.split_once('\n').expect("a line");
            fs::write(&copy, format!("{start}\n{HEADING}\n{rest}")).expect("a file");
        }
        if name == file {
            let text = fs::read_to_string(&copy).expect("a text");
            assert!(text.contains(from), "{file} has no {from}");
            fs::write(&copy, text.replacen(from, to, 1)).expect("a file");
        }
    }
    folder
}

const HEADING: &str = concat!("## ", env!("CARGO_PKG_VERSION"), " - 2026-12-01");
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Whether it agrees, and what it prints.
fn check_version(folder: &TempDir, tag: Option<&str>) -> (bool, String) {
    let mut command = Command::new("bash");
    command.arg(folder.path().join(".ci/check-version")).args(tag);
    let output = command.output().expect("bash");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("a text"))
}

#[test]
fn a_release_whose_tag_changelog_and_manifests_agree_is_not_refused() {
    let folder = copy("CHANGELOG.md", HEADING, HEADING);
    for tag in [Some(TAG), None] {
        let (agrees, text) = check_version(&folder, tag);
        assert!(agrees, "{tag:?}: {text}");
    }
    let unreleased = HEADING.replace("- 2026-12-01", "(unreleased)");
    assert!(check_version(&copy("CHANGELOG.md", HEADING, &unreleased), None).0);
}

#[test]
fn a_release_is_refused_when_tag_changelog_and_manifests_disagree() {
    let version = env!("CARGO_PKG_VERSION");
    let workspace_version = format!("version = \"{version}\"");
    let locked = format!("name = \"oom-witness\"\n{workspace_version}");
    let unreleased = HEADING.replace("- 2026-12-01", "(unreleased)");
    for (file, from, to, tag, expected) in [
        ("CHANGELOG.md", HEADING, HEADING, "v9.9.9", "the tag is v9.9.9"),
        ("CHANGELOG.md", HEADING, HEADING, version, "the tag is "),
        ("CHANGELOG.md", HEADING, &unreleased, TAG, "is unreleased"),
        ("CHANGELOG.md", HEADING, "## 9.9.9 - 2026-12-01", TAG, "begins with 9.9.9"),
        ("CHANGELOG.md", "2026-12-01", "2026-13-01", TAG, "is no day"),
        ("CHANGELOG.md", HEADING, "## Next", TAG, "begins with '## Next'"),
        ("Cargo.toml", &workspace_version, "version = \"9.9.9\"", TAG, "the tag is"),
        ("Cargo.toml", &workspace_version, "version = \"0.1\"", TAG, "no version X.Y.Z"),
        ("core/Cargo.toml", "version.workspace = true", "version = \"9.9.9\"", TAG, "of its own"),
        ("Cargo.lock", &locked, "name = \"oom-witness\"\nversion = \"9.9.9\"", TAG, "Cargo.lock"),
    ] {
        let (agrees, text) = check_version(&copy(file, from, to), Some(tag));
        assert!(!agrees && text.contains(expected), "{file}: {to}, {tag}: {text}");
    }
}
