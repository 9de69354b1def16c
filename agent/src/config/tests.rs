//! Any variables give a configuration.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use log::LevelFilter;
use oom_witness_core::Suspected;

use super::{Config, Warnings};
use crate::delivery::sink::Sink;

/// The configuration from these variables, if these files exist, and the warnings.
fn read(vars: &[(&str, &[u8])], files: &[&str]) -> (Config, Vec<String>, Vec<&'static str>) {
    let get = |name: &str| {
        let (_, value) = vars.iter().find(|(var, _)| *var == name)?;
        Some(OsString::from_vec(value.to_vec()))
    };
    let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
    let mut warnings = Warnings::new();
    let config = Config::from_vars(&get, &exists, &mut warnings);
    let texts = warnings.iter().map(ToString::to_string).collect();
    (config, texts, warnings.iter().map(|warning| warning.name()).collect())
}

fn bytes<'a>(vars: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a [u8])> {
    vars.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

/// A configuration without a warning.
#[track_caller]
fn config(vars: &[(&str, &str)]) -> Config {
    let (config, warnings, _) = read(&bytes(vars), &[]);
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

/// Checks the names of the sinks, and of the variables with a warning.
#[track_caller]
fn check(vars: &[(&str, &str)], sinks: &[&str], warned: &[&str]) {
    let (config, _, names) = read(&bytes(vars), &[]);
    assert_eq!(config.sinks.iter().map(Sink::name).collect::<Vec<_>>(), sinks);
    assert_eq!(names, warned);
    assert_eq!(config.left_to_other, None);
}

/// The one warning.
#[track_caller]
fn warning(vars: &[(&str, &str)]) -> String {
    let (_, mut warnings, _) = read(&bytes(vars), &[]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings.remove(0)
}

#[test]
fn defaults() {
    let config = config(&[]);
    assert_eq!(config.runtime_api, None);
    assert_eq!(config.port, 6161);
    assert!(config.logs);
    assert_eq!(config.level, LevelFilter::Info);
    assert!(matches!(config.suspected, Suspected::Count));
    assert_eq!(config.source("").namespace, "OomWitness");
    assert!(!config.is_managed_instances());
}

#[test]
fn values() {
    let config = config(&[
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
        ("AWS_LAMBDA_FUNCTION_NAME", "resize"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("OOM_WITNESS_PORT", " 7000 "),
        ("OOM_WITNESS_LOGS", "off"),
        ("OOM_WITNESS_LOG", "WARN"),
        ("OOM_WITNESS_SUSPECTED", "ignore"),
        ("OOM_WITNESS_NAMESPACE", "Team A/oom"),
    ]);
    assert_eq!(config.runtime_api.as_deref(), Some("127.0.0.1:9001"));
    assert_eq!(config.port, 7000);
    assert!(!config.logs);
    assert_eq!(config.level, LevelFilter::Warn);
    assert!(matches!(config.suspected, Suspected::Ignore));
    let source = config.source("123456789012");
    assert_eq!(source.namespace, "Team A/oom");
    assert_eq!(source.function_name, "resize");
    assert_eq!(source.account_id, "123456789012");
    assert_eq!(config.settings().memory_size_mb, Some(128));
    assert!(config.is_managed_instances());
}

#[test]
fn bad_values_fall_back_to_the_default() {
    let bad = [
        ("OOM_WITNESS_PORT", "65536"),
        ("OOM_WITNESS_LOGS", "yes"),
        ("OOM_WITNESS_LOG", "loud"),
        ("OOM_WITNESS_SUSPECTED", "never"),
        ("OOM_WITNESS_NAMESPACE", "a\"b"),
        ("OOM_WITNESS_SINKS", "emf,carrier-pigeon"),
    ];
    let (config, warnings, _) = read(&bytes(&bad), &[]);
    assert_eq!(config.port, 6161);
    assert!(config.logs);
    assert_eq!(warnings.len(), bad.len(), "{warnings:?}");
}

#[test]
fn a_warning_says_what_is_wrong_and_what_happens() {
    for value in ["0", "9001", "65536", "x"] {
        assert_eq!(
            warning(&[("OOM_WITNESS_PORT", value)]),
            "OOM_WITNESS_PORT is not used: it takes a port from 1 to 65535 other than 9001, which is \
             Lambda's; the default is 6161"
        );
    }
    let sinks = warning(&[("OOM_WITNESS_SINKS", "emf,x")]);
    assert!(sinks.ends_with("; the other names are used"), "{sinks}");
    let sinks = warning(&[("OOM_WITNESS_SINKS", "x")]);
    assert!(sinks.ends_with("; the default is used"), "{sinks}");
}

#[test]
fn bytes_that_are_not_utf8_count_as_not_set() {
    for name in [
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_REGION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "OOM_WITNESS_SINKS",
        "OOM_WITNESS_PORT",
        "OOM_WITNESS_LOGS",
        "OOM_WITNESS_LOG",
        "OOM_WITNESS_SUSPECTED",
        "OOM_WITNESS_NAMESPACE",
    ] {
        let (config, warnings, names) = read(&[(name, b"6\xff")], &[]);
        assert_eq!(names, [name], "{warnings:?}");
        assert!(warnings[0].contains(" is not used: it takes "), "{warnings:?}");
        assert_eq!((config.port, config.function_name.as_str()), (6161, ""));
    }
    // Connecting says that it is no address. Paths may be any bytes.
    let (config, warnings, _) = read(&[("AWS_LAMBDA_RUNTIME_API", b"\xff:80")], &[]);
    assert_eq!((config.runtime_api.as_deref(), warnings.len()), (Some("\u{fffd}:80"), 0));
    let (config, warnings, _) = read(&[("OOM_WITNESS_STATE", b"/tmp/\xff")], &[]);
    assert_eq!((config.state.as_bytes(), warnings.len()), (&b"/tmp/\xff"[..], 0));
}

#[cfg(feature = "datadog")]
#[test]
fn datadogs_variables_that_are_not_utf8() {
    for name in ["DD_TAGS", "DD_ENV", "DD_SERVICE", "DD_VERSION"] {
        let (config, warnings, names) = read(&[(name, b"a:\xff")], &[]);
        assert_eq!(names, [name], "{warnings:?}");
        assert_eq!((config.tags.as_str(), config.env.as_str()), ("", ""));
    }
    for name in ["DD_API_KEY", "DD_DD_URL", "DD_URL", "DD_SITE"] {
        let key = ("DD_API_KEY", &b"k"[..]);
        let (config, warnings, names) = read(&[(name, b"\xff"), key], &[]);
        assert_eq!(names, [name], "{warnings:?}");
        assert!(config.sinks.contains(Sink::Emf) && config.sinks.network().is_empty());
    }
}

/// Every variable is wrong at once. There is room for all warnings.
#[cfg(feature = "datadog")]
#[test]
fn every_warning_at_once() {
    const WRONG: [&str; 22] = [
        "OOM_WITNESS_PORT",
        "OOM_WITNESS_LOGS",
        "OOM_WITNESS_LOG",
        "OOM_WITNESS_SUSPECTED",
        "OOM_WITNESS_NAMESPACE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_REGION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "DD_TAGS",
        "DD_ENV",
        "DD_SERVICE",
        "DD_VERSION",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
    ];
    let mut vars: Vec<(&str, &[u8])> = WRONG.iter().map(|name| (*name, &b"\xff"[..])).collect();
    vars.push(("OOM_WITNESS_SINKS", b"datadog,\xc3\xa9"));
    vars.extend([("DD_API_KEY", &b"k"[..]), ("DD_URL", b"http://intake.example")]);
    let (_, warnings, mut names) = read(&vars, &[]);
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        (names.len(), warnings.len()),
        (super::WARNINGS_MAX, super::WARNINGS_MAX),
        "{warnings:?}"
    );
}

#[cfg(feature = "datadog")]
#[test]
fn beside_datadogs_own_extension_nothing_goes_to_datadog() {
    let read = |vars: &[(&str, &str)], files: &[&str]| {
        let (config, warnings, _) = read(&bytes(vars), files);
        assert!(warnings.is_empty(), "{warnings:?}");
        let sinks: Vec<_> = config.sinks.iter().map(Sink::name).collect();
        (sinks, config.left_to_other.map(Sink::name))
    };
    let key = ("DD_API_KEY", "k");
    let there = &["/opt/extensions/datadog-agent"][..];
    assert_eq!(read(&[key], there), (vec!["emf"], Some("datadog")));
    assert_eq!(read(&[], there), (vec!["emf"], None));
    assert_eq!(read(&[key, ("OOM_WITNESS_SINKS", "datadog")], there), (vec!["datadog"], None));
    assert_eq!(read(&[key, ("OOM_WITNESS_SINKS", "emf")], there), (vec!["emf"], None));
    assert_eq!(read(&[key], &["/opt/extensions/other"]), (vec!["datadog"], None));
    let off = ("OOM_WITNESS_EXTENSIONS", "off");
    assert_eq!(read(&[key, off], there), (vec!["datadog"], None));
    let elsewhere = ("OOM_WITNESS_EXTENSIONS", "/x");
    assert_eq!(read(&[key, elsewhere], &["/x/datadog-agent"]), (vec!["emf"], Some("datadog")));
}

#[cfg(feature = "datadog")]
#[test]
fn a_key_that_can_be_read_on_its_way() {
    let key = ("DD_API_KEY", "k");
    for name in ["DD_DD_URL", "DD_URL"] {
        for url in ["http://intake.example", "http://10.0.0.1:8080/", "http://[fe80::1]:80"] {
            let warning = warning(&[key, (name, url)]);
            assert!(warning.starts_with(name) && warning.contains("API key"), "{warning}");
            // Nothing is sent there.
            check(&[key, (name, url), ("OOM_WITNESS_SINKS", "emf")], &["emf"], &[]);
        }
        for url in ["http://localhost", "http://127.0.0.1:8080", "http://[::1]:1", "https://x"] {
            check(&[key, (name, url)], &["datadog"], &[]);
        }
    }
}

#[cfg(feature = "datadog")]
#[test]
fn proxies_that_cannot_be_used() {
    let (key, proxy) = (("DD_API_KEY", "k"), ("ALL_PROXY", "socks5://user:secret@proxy:1080"));
    assert_eq!(
        warning(&[key, proxy]),
        "ALL_PROXY is not used: it takes the address of an http or https proxy; requests go without it"
    );
    // No proxy is used here.
    check(&[proxy], &["emf"], &[]);
    check(&[key, proxy, ("DD_URL", "http://127.0.0.1:1")], &["datadog"], &[]);
}

/// Datadog's limit. There is no warning if nothing goes to Datadog.
#[cfg(feature = "datadog")]
#[test]
fn tags_that_are_too_long_are_cut() {
    let vars = [("DD_ENV", "é".repeat(150)), ("DD_TAGS", "t:1,".repeat(100))];
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    let config = config(&vars);
    assert_eq!((config.env.as_str(), config.tags.len()), ("é".repeat(100).as_str(), 299));
    let with_key = [&vars[..], &[("DD_API_KEY", "k")]].concat();
    check(&with_key, &["datadog"], &["DD_TAGS", "DD_ENV"]);
}

/// A value that Lambda never sets would not fit into a line. The beginning of a number would be
/// another number.
#[test]
fn texts_that_are_too_long_count_as_not_set() {
    for (name, fits, is_too_long) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "a".repeat(140), "\u{1}".repeat(24)),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1".repeat(32), "1".repeat(33)),
        ("AWS_REGION", "r".repeat(32), "\"".repeat(17)),
    ] {
        let (config, _, names) = read(&bytes(&[(name, &is_too_long)]), &[]);
        assert_eq!(names, [name]);
        assert_eq!([&config.function_name, &config.memory_size_mb, &config.region], ["", "", ""]);
        let texts = config_texts(&[(name, &fits)]);
        assert_eq!(texts.concat(), fits);
    }
}

/// These three, of a configuration without a warning.
#[track_caller]
fn config_texts(vars: &[(&str, &str)]) -> [String; 3] {
    let config = config(vars);
    [config.function_name, config.memory_size_mb, config.region]
}

#[cfg(feature = "datadog")]
#[test]
fn tags_that_do_not_fit_are_left_out() {
    let key = ("DD_API_KEY", "k");
    let tags = |vars: &[(&str, &str)]| {
        let (config, warnings, _) = read(&bytes(vars), &[]);
        (config.tags, warnings.join(";"))
    };
    // 25 tags of 37 bytes, with three more each for quotes and a comma, are 1,000 bytes.
    let list = |value: &str| (0..250).map(|number| format!("key{number:03}:{value},")).collect();
    let long: String = list(&"v".repeat(30));
    let (kept, warning) = tags(&[key, ("DD_TAGS", &long)]);
    assert_eq!(kept, long[..25 * 38 - 1]);
    assert!(warning.starts_with("DD_TAGS is too long: 225 of its tags are left out"), "{warning}");
    // Of short tags, there are too many before they are too long.
    let many: String = list("v");
    let (kept, warning) = tags(&[key, ("DD_TAGS", &many)]);
    assert_eq!(kept, many[..75 * 9 - 1]);
    assert!(warning.starts_with("DD_TAGS is too long: 175 of its tags are left out"), "{warning}");
    // A tag that is too long by itself keeps no other out.
    let long = format!("team:red,k:{},x:y", "v".repeat(3000));
    let (kept, warning) = tags(&[key, ("DD_TAGS", &long)]);
    assert_eq!(kept, "team:red,x:y");
    assert!(warning.starts_with("DD_TAGS is too long: 1 of its tags"), "{warning}");
    // What fits stays as the user wrote it. What is no tag does not count.
    let fits = format!("a:b no-tag,{}", "n".repeat(2000));
    assert_eq!(tags(&[key, ("DD_TAGS", &fits)]), (fits, String::new()));
}

#[test]
fn unset_and_empty_sinks_are_emf() {
    check(&[], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "")], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", " , ")], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "nothing")], &["emf"], &["OOM_WITNESS_SINKS"]);
}

#[cfg(feature = "datadog")]
#[test]
fn a_key_configures_datadog() {
    let key = ("DD_API_KEY", "k");
    check(&[key], &["datadog"], &[]);
    check(&[key, ("OOM_WITNESS_SINKS", "emf")], &["emf"], &[]);
    check(&[key, ("OOM_WITNESS_SINKS", "emf, datadog")], &["datadog", "emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "datadog")], &["emf"], &["OOM_WITNESS_SINKS"]);
    check(&[key, ("DD_URL", "nonsense")], &["emf"], &["DD_URL"]);
}
