//! Variables in, a configuration out, whatever they hold.

use std::ffi::OsString;

use log::LevelFilter;
use oom_witness_core::Suspected;

use super::{Config, IGNORED_MAX};
use crate::sink::Sink;

fn config(vars: &[(&str, &str)]) -> Config {
    Config::from_vars(|name| {
        vars.iter().find(|(var, _)| *var == name).map(|(_, value)| OsString::from(value))
    })
}

/// The names of the sinks, and of the variables that were not used.
#[track_caller]
fn check(vars: &[(&str, &str)], sinks: &[&str], ignored: &[&str]) {
    let config = config(vars);
    let names: Vec<_> = config.sinks.iter().map(Sink::name).collect();
    assert_eq!(names, sinks);
    let names: Vec<_> = config.ignored.iter().map(|ignored| ignored.name).collect();
    assert_eq!(names, ignored);
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
    assert!(config.ignored.is_empty());
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
    assert!(config.ignored.is_empty());
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
    let config = config(&bad);
    assert_eq!(config.port, 6161);
    assert!(config.logs);
    assert_eq!(config.ignored.len(), bad.len());
    assert!(config.ignored.len() < IGNORED_MAX, "room for those of the sinks");
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
