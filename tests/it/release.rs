//! What refuses a release: `.ci/check-version`, and a crate without a license in the list.

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
    let others = [
        "Cargo.toml",
        "Cargo.lock",
        "CHANGELOG.md",
        ".ci/check-version",
        "fuzz/Cargo.lock",
        "tests/bare-metal/Cargo.lock",
        "core/examples/lambda-extension/Cargo.lock",
    ];
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
    let core = format!("name = \"oom-witness-core\"\n{workspace_version}");
    let unreleased = HEADING.replace("- 2026-12-01", "(unreleased)");
    for (file, from, to, tag, expected) in [
        ("CHANGELOG.md", HEADING, HEADING, "v9.9.9", "the tag is v9.9.9"),
        ("CHANGELOG.md", HEADING, HEADING, version, "the tag is "),
        ("CHANGELOG.md", HEADING, &unreleased, TAG, "is unreleased"),
        ("CHANGELOG.md", HEADING, "## 9.9.9 - 2026-12-01", TAG, "begins with 9.9.9"),
        ("CHANGELOG.md", "2026-12-01", "2026-13-01", TAG, "is not a date"),
        ("CHANGELOG.md", HEADING, "## Next", TAG, "begins with '## Next'"),
        ("Cargo.toml", &workspace_version, "version = \"9.9.9\"", TAG, "the tag is"),
        ("Cargo.toml", &workspace_version, "version = \"0.1\"", TAG, "no version X.Y.Z"),
        ("core/Cargo.toml", "version.workspace = true", "version = \"9.9.9\"", TAG, "of its own"),
        (
            "Cargo.lock",
            "name = \"oom-witness-core\"",
            "name = \"gone\"",
            TAG,
            "oom-witness-core ''",
        ),
        (
            "fuzz/Cargo.lock",
            &core,
            "name = \"oom-witness-core\"\nversion = \"0\"",
            TAG,
            "fuzz/Cargo.lock",
        ),
        ("Cargo.lock", &locked, "name = \"oom-witness\"\nversion = \"9.9.9\"", TAG, "Cargo.lock"),
    ] {
        let (agrees, text) = check_version(&copy(file, from, to), Some(tag));
        assert!(!agrees && text.contains(expected), "{file}: {to}, {tag}: {text}");
    }
}

/// `third-party map` of a linker's map with one symbol for each of these crates.
fn listed(crates: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let map = folder.path().join("program.map");
    let symbol = |name: &&str| format!(".text._RNvCs1a2B_{}{name}4main\n", name.len());
    fs::write(&map, crates.iter().map(symbol).collect::<String>()).expect("a file");
    let script = Path::new(ROOT).join("agent/layer/third-party");
    let output = Command::new("python3").arg(script).arg("map").arg(map).output().expect("python");
    (output.status.success(), String::from_utf8(output.stderr).expect("a text"))
}

#[test]
fn a_crate_that_is_linked_but_has_no_license_in_the_list_is_named() {
    let mut crates = vec![
        "core",
        "alloc",
        "std",
        "ring",
        "rustls",
        "webpki",
        "ureq",
        "http",
        "log",
        "oom_witness",
    ];
    let (is_complete, errors) = listed(&crates);
    assert!(is_complete, "{errors}");
    // It makes code, but is not in the program.
    crates.push("serde_derive");
    let (is_complete, errors) = listed(&crates);
    assert!(!is_complete && errors.contains("not listed: serde_derive"), "{errors}");
    let (is_complete, errors) = listed(&crates[..3]);
    assert!(!is_complete && errors.contains("not a linker's map"), "{errors}");
}
