//! Any of Datadog's variables give a configuration.

use super::super::WARNINGS_MAX;
use super::{Sink, bytes, check, config, read, warning};

const ARN: (&str, &str) =
    ("DD_API_KEY_SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key");
const PARAMETER: (&str, &str) =
    ("DD_API_KEY_SSM_ARN", "arn:aws:ssm:eu-west-1:123456789012:parameter/key");

#[test]
fn bytes_that_are_not_utf8_count_as_not_set() {
    for name in ["DD_TAGS", "DD_ENV", "DD_SERVICE", "DD_VERSION"] {
        let (config, warnings, names) = read(&[(name, b"a:\xff")], &[]);
        assert_eq!(names, [name], "{warnings:?}");
        assert_eq!(
            (config.sink_settings.datadog.tags.as_str(), config.sink_settings.datadog.env.as_str()),
            ("", "")
        );
    }
    for name in [
        "DD_API_KEY",
        "DD_API_KEY_SECRET_ARN",
        "DD_API_KEY_SSM_ARN",
        "DD_KMS_API_KEY",
        "DD_DD_URL",
        "DD_URL",
        "DD_SITE",
    ] {
        let key = ("DD_API_KEY", &b"k"[..]);
        let (config, warnings, names) = read(&[(name, b"\xff"), key], &[]);
        assert_eq!(names, [name], "{warnings:?}");
        assert!(config.sinks.contains(Sink::Emf) && config.sinks.network().is_empty());
    }
}

/// Every variable is wrong. One sink is reached over http and one over https, so that all proxies
/// are asked for.
#[test]
fn there_is_room_for_every_warning_at_once() {
    const WRONG: [&str; 35] = [
        "OOM_WITNESS_PORT",
        "OOM_WITNESS_LOGS",
        "OOM_WITNESS_LOG",
        "OOM_WITNESS_SUSPECTED",
        "OOM_WITNESS_HIGH_WATER",
        "OOM_WITNESS_NAMESPACE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_REGION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "DD_AGENT_HOST",
        "DD_DOGSTATSD_PORT",
        "STATSD_HOST",
        "STATSD_PORT",
        "DD_TAGS",
        "DD_ENV",
        "DD_SERVICE",
        "DD_VERSION",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SERVICE_NAME",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "AWS_ENDPOINT_URL_SSM",
        "AWS_ENDPOINT_URL",
        "AWS_USE_FIPS_ENDPOINT",
    ];
    let mut vars: Vec<(&str, &[u8])> = WRONG.iter().map(|name| (*name, &b"\xff"[..])).collect();
    vars.push(("OOM_WITNESS_SINKS", b"datadog,otlp,\xc3\xa9"));
    vars.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &b"https://collector.example"[..]),
        ("OTEL_EXPORTER_OTLP_HEADERS", b"a=b"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", b"http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", b"gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", b"gzip"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", b"/x"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", b"/x"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", b"/x"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", b"/x"),
    ]);
    vars.extend([
        (ARN.0, ARN.1.as_bytes()),
        ("OOM_WITNESS_OTLP_HEADERS_SECRET_ARN", PARAMETER.1.as_bytes()),
        ("DD_URL", b"http://intake.example"),
    ]);
    let (_, warnings, mut names) = read(&vars, &[]);
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), warnings.len()), (WARNINGS_MAX, WARNINGS_MAX), "{warnings:?}");
}

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
    assert_eq!(read(&[key], there), (vec!["dogstatsd"], Some("datadog")));
    assert_eq!(read(&[], there), (vec!["dogstatsd"], None));
    assert_eq!(read(&[key, ("OOM_WITNESS_SINKS", "datadog")], there), (vec!["datadog"], None));
    assert_eq!(read(&[key, ("OOM_WITNESS_SINKS", "emf")], there), (vec!["emf"], None));
    assert_eq!(read(&[key], &["/opt/extensions/other"]), (vec!["datadog"], None));
    let off = ("OOM_WITNESS_EXTENSIONS", "off");
    assert_eq!(read(&[key, off], there), (vec!["datadog"], None));
    let elsewhere = ("OOM_WITNESS_EXTENSIONS", "/x");
    assert_eq!(
        read(&[key, elsewhere], &["/x/datadog-agent"]),
        (vec!["dogstatsd"], Some("datadog"))
    );
}

#[test]
fn a_key_that_others_could_read_is_one_warning() {
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

#[test]
fn a_proxy_that_cannot_be_used_is_one_warning() {
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
#[test]
fn tags_that_are_too_long_are_cut() {
    let vars = [("DD_ENV", "é".repeat(150)), ("DD_TAGS", "t:1,".repeat(100))];
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    let config = config(&vars);
    assert_eq!(
        (config.sink_settings.datadog.env.as_str(), config.sink_settings.datadog.tags.len()),
        ("é".repeat(100).as_str(), 299)
    );
    let with_key = [&vars[..], &[("DD_API_KEY", "k")]].concat();
    check(&with_key, &["datadog"], &["DD_TAGS", "DD_ENV"]);
}

#[test]
fn tags_that_do_not_fit_are_left_out() {
    let key = ("DD_API_KEY", "k");
    let tags = |vars: &[(&str, &str)]| {
        let (config, warnings, _) = read(&bytes(vars), &[]);
        (config.sink_settings.datadog.tags, warnings.join(";"))
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
fn a_key_configures_datadog() {
    let key = ("DD_API_KEY", "k");
    check(&[key], &["datadog"], &[]);
    check(&[key, ("OOM_WITNESS_SINKS", "emf")], &["emf"], &[]);
    check(&[key, ("OOM_WITNESS_SINKS", "emf, datadog")], &["datadog", "emf"], &[]);
    check(&[("OOM_WITNESS_SINKS", "datadog")], &["emf"], &["OOM_WITNESS_SINKS"]);
    check(&[key, ("DD_URL", "nonsense")], &["emf"], &["DD_URL"]);
}

#[test]
fn the_place_of_a_key_configures_datadog() {
    let kms = ("DD_KMS_API_KEY", "Y2lwaGVydGV4dA==");
    let fetches = |vars: &[(&str, &str)]| config(vars).key_sinks.contains(Sink::Datadog);
    for place in [ARN, PARAMETER, kms] {
        check(&[place], &["datadog"], &[]);
        check(&[place, ("DD_API_KEY", "not \n used")], &["datadog"], &[]);
        assert!(fetches(&[place]) && fetches(&[place, ("DD_API_KEY", "k")]));
        assert!(!fetches(&[place, ("OOM_WITNESS_SINKS", "emf")]));
    }
    assert!(!fetches(&[("DD_API_KEY", "k")]) && !fetches(&[]));
}

/// The user meant it to be the key, so `DD_API_KEY` does not take its place.
#[test]
fn a_place_that_makes_no_sense_is_one_warning() {
    for (name, takes) in [
        ("DD_API_KEY_SECRET_ARN", "the ARN of a secret in Secrets Manager"),
        ("DD_API_KEY_SSM_ARN", "the ARN of a parameter in SSM"),
        ("DD_KMS_API_KEY", "a ciphertext of KMS in base64"),
    ] {
        let vars = [(name, "the-key"), ("DD_API_KEY", "k")];
        let expected = format!("{name} is not used: it takes {takes}; its sink is not used");
        assert_eq!(warning(&vars), expected);
        check(&vars, &["emf"], &[name]);
    }
}

#[test]
fn an_address_of_aws_that_cannot_be_used_is_one_warning() {
    let all = ("AWS_ENDPOINT_URL", "https://aws.example/path");
    assert_eq!(
        warning(&[ARN, all]),
        "AWS_ENDPOINT_URL is not used: it takes an http or https address without a path; the key \
         is fetched without it"
    );
    check(&[ARN, ("AWS_USE_FIPS_ENDPOINT", "yes")], &["datadog"], &["AWS_USE_FIPS_ENDPOINT"]);
    check(&[ARN, ("AWS_ENDPOINT_URL", "http://aws.example")], &["datadog"], &["AWS_ENDPOINT_URL"]);
    // No key is fetched here.
    check(&[("DD_API_KEY", "k"), all], &["datadog"], &[]);
    check(&[ARN, all, ("OOM_WITNESS_SINKS", "emf")], &["emf"], &[]);
}
