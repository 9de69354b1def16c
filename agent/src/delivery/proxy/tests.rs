//! Which proxy is used. ureq understands each address that is accepted here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use ureq::{Proxy, ProxyProtocol};

use super::{address, from_vars, is_loopback, is_near};

/// The proxy for `url`, and the variables that are not used.
#[track_caller]
fn check(vars: &[(&str, &str)], url: &str, expected: Option<&str>, ignored: &[&str]) {
    let get = |name: &str| {
        vars.iter().find(|(var, _)| *var == name).map(|(_, value)| OsString::from(value))
    };
    let mut names = Vec::new();
    let found = from_vars(&get, url, &mut |invalid| names.push(invalid.name));
    assert_eq!((found.as_deref(), names.as_slice()), (expected, ignored), "{vars:?}");
}

const INTAKE: &str = "https://api.datadoghq.com/path";

/// curl's order: the variable of the request's scheme, then the one for all; small letters first.
#[test]
fn the_first_usable_address_for_the_requests_scheme_counts() {
    let all = [
        ("https_proxy", "a"),
        ("HTTPS_PROXY", "b"),
        ("all_proxy", "c"),
        ("ALL_PROXY", "d"),
        ("http_proxy", "e"),
        ("HTTP_PROXY", "f"),
    ];
    for (url, order) in [(INTAKE, [0, 1, 2, 3]), ("http://intake.example:80", [4, 5, 2, 3])] {
        for (skipped, first) in order.into_iter().enumerate() {
            let left: Vec<_> = all
                .into_iter()
                .filter(|var| !order[..skipped].iter().any(|at| all[*at] == *var))
                .collect();
            check(&left, url, Some(&["http://", all[first].1].concat()), &[]);
        }
        let others: Vec<_> =
            all.into_iter().filter(|var| !order.iter().any(|at| all[*at] == *var)).collect();
        check(&others, url, None, &[]);
    }
    let good = ("ALL_PROXY", "http://proxy.example:3128");
    let found = Some("http://proxy.example:3128");
    check(&[("HTTPS_PROXY", " "), good], INTAKE, found, &[]);
    check(&[("HTTPS_PROXY", "socks5://x:1080"), good], INTAKE, found, &["HTTPS_PROXY"]);
    let wrong = [("https_proxy", "http://"), ("ALL_PROXY", "http://x/path")];
    check(&wrong, INTAKE, None, &["https_proxy", "ALL_PROXY"]);
}

#[test]
fn a_variable_that_is_not_utf8_is_not_used() {
    let get = |name: &str| (name == "all_proxy").then(|| OsString::from_vec(vec![0xff]));
    let mut names = Vec::new();
    assert_eq!(from_vars(&get, INTAKE, &mut |invalid| names.push(invalid.name)), None);
    assert_eq!(names, ["all_proxy"]);
}

#[test]
fn this_machine_and_neighbours_are_never_reached_through_a_proxy() {
    let wrong_and_right = [("ALL_PROXY", "socks5://x"), ("HTTPS_PROXY", "http://proxy")];
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]"] {
        assert!(is_loopback(host) && is_near(host), "{host}");
        check(&wrong_and_right, &["https://", host, ":1/x"].concat(), None, &[]);
    }
    for host in ["169.254.170.2", "169.254.100.1", "[fe80::1]"] {
        assert!(is_near(host) && !is_loopback(host), "{host}");
        check(&wrong_and_right, &["http://", host, "/x"].concat(), None, &[]);
    }
    for host in ["", "localhost.example", "128.0.0.1", "127.0.0.1.example", "[::2]", "10.0.0.1"] {
        assert!(!is_loopback(host) && !is_near(host), "{host}");
    }
}

#[test]
fn a_host_that_the_user_exempts_is_reached_without_a_proxy() {
    for (list, host, is_exempt) in [
        ("*", "api.datadoghq.com", true),
        ("datadoghq.com", "api.datadoghq.com", true),
        (".datadoghq.com", "api.datadoghq.com", true),
        ("*.DatadogHQ.com", "api.datadoghq.com", true),
        ("x, api.datadoghq.com ,y", "api.datadoghq.com", true),
        ("x api.datadoghq.com", "api.datadoghq.com", true),
        ("", "api.datadoghq.com", false),
        (",,", "api.datadoghq.com", false),
        ("*.", "api.datadoghq.com", false),
        ("doghq.com", "api.datadoghq.com", false),
        ("api.datadoghq.com.example", "api.datadoghq.com", false),
        ("*", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.1.2.2/31", "10.1.2.3", true),
        ("0.0.0.0/0", "10.1.2.3", true),
        ("[fd00::]/8", "[fd00::5]", true),
        ("fd00::5", "[fd00::5]", true),
        ("10.1.2.2", "10.1.2.3", false),
        ("10.1.2.0/31", "10.1.2.3", false),
        ("10.1.2.3/", "10.1.2.4", false),
        ("10.1.2.3/x", "10.1.2.3", false),
        ("2.3", "10.1.2.3", false),
        ("::/0", "10.1.2.3", false),
        ("fe00::/8", "[fd00::5]", false),
    ] {
        let vars = [("NO_PROXY", list), ("ALL_PROXY", "http://p")];
        let url = ["https://", host, "/path"].concat();
        check(&vars, &url, (!is_exempt).then_some("http://p"), &[]);
    }
    let both = [("no_proxy", "*"), ("NO_PROXY", "x"), ("ALL_PROXY", "http://p")];
    check(&both, INTAKE, None, &[]);
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
