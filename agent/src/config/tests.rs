//! Any variables give a configuration.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use log::LevelFilter;
use oom_witness_core::Suspected;

use super::{Config, Warnings};
use crate::delivery::sink::Sink;

#[cfg(feature = "datadog")]
mod datadog;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "dogstatsd")]
#[test]
fn datagrams_go_to_the_address_that_the_variables_name() {
    let receivers = |vars: &[(&str, &str)]| {
        let receivers = config(vars).sink_settings.receivers;
        [receivers.dogstatsd.to_string(), receivers.statsd.to_string()]
    };
    assert_eq!(receivers(&[]), ["127.0.0.1:8125", "127.0.0.1:8125"]);
    let dogstatsd = [("DD_AGENT_HOST", "localhost"), ("DD_DOGSTATSD_PORT", " 8126 ")];
    assert_eq!(receivers(&dogstatsd), ["127.0.0.1:8126", "127.0.0.1:8125"]);
    let statsd = [("STATSD_HOST", "fd00::1"), ("STATSD_PORT", "1")];
    assert_eq!(receivers(&statsd), ["127.0.0.1:8125", "[fd00::1]:1"]);
    // No name is looked up. There is a warning only if datagrams go there.
    let wrong = [("DD_AGENT_HOST", "agent.example"), ("STATSD_PORT", "0")];
    assert_eq!(receivers(&wrong), ["127.0.0.1:8125", "127.0.0.1:8125"]);
    let used = [("OOM_WITNESS_SINKS", "dogstatsd,statsd"), wrong[0], wrong[1]];
    check(&used, &["dogstatsd", "statsd"], &["DD_AGENT_HOST", "STATSD_PORT"]);
}

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
fn an_unset_variable_has_its_default() {
    let config = config(&[]);
    assert_eq!(config.runtime_api, None);
    assert_eq!(config.port, 6161);
    assert!(config.logs);
    assert_eq!(config.level, LevelFilter::Info);
    assert!(matches!(config.suspected, Suspected::Count));
    assert_eq!(config.sink_settings.namespace(), "OomWitness");
    assert!(!config.is_managed_instances());
}

#[test]
fn each_variable_sets_its_value() {
    let config = config(&[
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
        ("AWS_LAMBDA_FUNCTION_NAME", "resize"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("OOM_WITNESS_PORT", " 7000 "),
        ("OOM_WITNESS_LOGS", "off"),
        ("OOM_WITNESS_LOG", "WARN"),
        ("OOM_WITNESS_SUSPECTED", "ignore"),
        ("OOM_WITNESS_HIGH_WATER", "85%"),
        ("OOM_WITNESS_NAMESPACE", "Team A/oom"),
    ]);
    assert_eq!(config.runtime_api.as_deref(), Some("127.0.0.1:9001"));
    assert_eq!(config.port, 7000);
    assert!(!config.logs);
    assert_eq!(config.level, LevelFilter::Warn);
    assert!(matches!(config.suspected, Suspected::Ignore));
    let source = config.source("123456789012");
    assert_eq!(config.sink_settings.namespace(), "Team A/oom");
    assert_eq!(source.function_name, "resize");
    assert_eq!(source.account_id, "123456789012");
    assert_eq!(config.settings().memory_size_mb, Some(128));
    assert_eq!(config.settings().high_water_percent, Some(85));
    assert!(config.is_managed_instances());
}

#[test]
fn bad_values_fall_back_to_the_default() {
    let bad = [
        ("OOM_WITNESS_PORT", "65536"),
        ("OOM_WITNESS_LOGS", "yes"),
        ("OOM_WITNESS_LOG", "loud"),
        ("OOM_WITNESS_SUSPECTED", "never"),
        ("OOM_WITNESS_HIGH_WATER", "often"),
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
    for value in ["0", "100", "-1", "9.5", "%", "90 MB", "90%%"] {
        assert_eq!(
            warning(&[("OOM_WITNESS_HIGH_WATER", value)]),
            "OOM_WITNESS_HIGH_WATER is not used: it takes a whole number from 1 to 99; the metric \
             stays off"
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
        "OOM_WITNESS_HIGH_WATER",
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

#[test]
fn unset_and_empty_sinks_are_emf() {
    check(&[], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "")], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", " , ")], &["emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "nothing")], &["emf"], &["OOM_WITNESS_SINKS"]);
}

/// In a build without network sinks. Nobody is left to wonder why nothing arrives.
#[cfg(not(feature = "network"))]
#[test]
fn a_variable_for_a_sink_of_another_build_is_told() {
    let asked = ["DD_API_KEY", "DD_API_KEY_SECRET_ARN", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    check(&asked.map(|name| (name, "x")), &["emf"], &asked);
    let told = "DD_KMS_API_KEY is not used: this build does not have its sink";
    assert_eq!(warning(&[("DD_KMS_API_KEY", "x")]), told);
    check(&[("DD_API_KEY", ""), ("DD_SITE", "x")], &["emf"], &[]);
}
