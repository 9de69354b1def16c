//! Which proxy is used. ureq understands each address that is accepted here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use ureq::{Proxy, ProxyProtocol};

use super::{address, from_vars, is_loopback};

/// The proxy for `host`, and the variables that are not used.
#[track_caller]
fn check(vars: &[(&str, &str)], host: &str, expected: Option<&str>, ignored: &[&str]) {
    let get = |name: &str| {
        vars.iter().find(|(var, _)| *var == name).map(|(_, value)| OsString::from(value))
    };
    let mut names = Vec::new();
    let found = from_vars(&get, host, &mut |invalid| names.push(invalid.name));
    assert_eq!((found.as_deref(), names.as_slice()), (expected, ignored), "{vars:?}");
}

const INTAKE: &str = "api.datadoghq.com";

#[test]
fn the_first_usable_address_counts() {
    let good = ("HTTPS_PROXY", "http://proxy.example:3128");
    let found = Some("http://proxy.example:3128");
    check(&[], INTAKE, None, &[]);
    check(&[("ALL_PROXY", " ")], INTAKE, None, &[]);
    check(&[good], INTAKE, found, &[]);
    check(&[("ALL_PROXY", "proxy.example:3128"), ("http_proxy", "other")], INTAKE, found, &[]);
    check(&[("ALL_PROXY", "socks5://x:1080"), good], INTAKE, found, &["ALL_PROXY"]);
    check(&[good, ("http_proxy", "socks5://x")], INTAKE, found, &[]);
    let wrong = [("https_proxy", "http://"), ("HTTP_PROXY", "http://x/path")];
    check(&wrong, INTAKE, None, &["https_proxy", "HTTP_PROXY"]);
}

#[test]
fn a_variable_that_is_not_utf8_is_not_used() {
    let get = |name: &str| (name == "all_proxy").then(|| OsString::from_vec(vec![0xff]));
    let mut names = Vec::new();
    assert_eq!(from_vars(&get, INTAKE, &mut |invalid| names.push(invalid.name)), None);
    assert_eq!(names, ["all_proxy"]);
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let wrong_and_right = [("ALL_PROXY", "socks5://x"), ("HTTPS_PROXY", "http://proxy")];
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]"] {
        assert!(is_loopback(host), "{host}");
        check(&wrong_and_right, host, None, &[]);
    }
    for host in ["", "localhost.example", "128.0.0.1", "127.0.0.1.example", "[::2]", "10.0.0.1"] {
        assert!(!is_loopback(host), "{host}");
    }
}

#[test]
fn a_host_that_the_user_exempts_is_reached_without_a_proxy() {
    for (list, host, is_exempt) in [
        ("*", INTAKE, true),
        ("datadoghq.com", INTAKE, true),
        (".datadoghq.com", INTAKE, true),
        ("*.DatadogHQ.com", INTAKE, true),
        ("x, api.datadoghq.com ,y", INTAKE, true),
        ("10.*", "10.1.2.3", true),
        ("", INTAKE, false),
        (",,", INTAKE, false),
        ("doghq.com", INTAKE, false),
        ("api.datadoghq.com.example", INTAKE, false),
        ("10.*", "110.1.2.3", false),
    ] {
        let vars = [("NO_PROXY", list), ("ALL_PROXY", "http://p")];
        check(&vars, host, (!is_exempt).then_some("http://p"), &[]);
    }
    check(&[("no_proxy", "*"), ("ALL_PROXY", "http://p")], INTAKE, None, &[]);
}

#[test]
fn only_an_http_or_https_address_of_a_host_is_accepted() {
    for (value, expected) in [
        ("proxy", "http://proxy"),
        ("proxy:3128", "http://proxy:3128"),
        ("HTTP://proxy:3128/", "http://proxy:3128"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("http://[fe80::1]:80", "http://[fe80::1]:80"),
        ("http://user:p%40ss%2Fw@rd@proxy:1", "http://user:p%40ss%2Fw@rd@proxy:1"),
        ("http://%C3%A9@proxy", "http://%C3%A9@proxy"),
    ] {
        assert_eq!(address(value).as_deref(), Some(expected), "{value}");
    }
    for value in [
        "socks://p",
        "socks4://p",
        "socks5h://p:1080",
        "ftp://p",
        "://p",
        "http://",
        "http:///",
        "http://p/path",
        "http://p?q",
        "http://p:0",
        "http://p:+1",
        "http://p:65536",
        "http://p:",
        "http://p:1:2",
        "http://[::1",
        "http://[x]:1",
        "http://a b",
        "http://é",
        "http://us er@p",
        "http://%zz@p",
        "http://%ff@p",
        "http://%f@p",
        "@",
    ] {
        assert_eq!(address(value), None, "{value}");
    }
}

/// All texts made of a few pieces. ureq takes each one that is accepted here, as an http or https
/// proxy.
#[test]
fn ureq_understands_each_accepted_address() {
    let pieces =
        ["", "http://", "https://", "u", ":", "@", "%41", "%e2", "[::1]", "p.x", "80", "/", "~;"];
    let mut taken = 0;
    for number in 0..pieces.len().pow(5) {
        let piece = |place: u32| pieces[number / pieces.len().pow(place) % pieces.len()];
        let text: String = (0..5).map(piece).collect();
        let Some(address) = address(&text) else { continue };
        let proxy = Proxy::new(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
        assert!(
            matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https),
            "{address}"
        );
        taken += 1;
    }
    assert!(taken > 1000, "{taken}");
}
