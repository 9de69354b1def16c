//! The user's proxy, from the variables that curl and most programs know.
//!
//! In: the environment, and the address of an intake. Out: the address of the http or https proxy
//! for requests to it, or none. The agent asks in order to warn, and the child in order to send.
//! Both get the same answer. Nothing here connects.
//!
//! The rules are curl's (<https://everything.curl.dev/usingcurl/proxies/env.html>). In addition
//! `HTTP_PROXY` in capital letters is read: no web server sets variables from a request here.

use std::net::{IpAddr, Ipv6Addr};

use crate::delivery::sink::SinkRequest;
use crate::variable::{InvalidVariable, VariableRow, Variables, text, variables};

#[cfg(test)]
mod tests;

/// Its variables.
pub(crate) const VARIABLES: &[VariableRow] = variables![
    ["HTTPS_PROXY", "https_proxy"] Address "an http or https proxy for requests over https",
    ["HTTP_PROXY", "http_proxy"] Address "the same for requests over http",
    ["ALL_PROXY", "all_proxy"] Address "the same for both",
    ["NO_PROXY", "no_proxy"] All "hosts, domains and networks to reach without a proxy",
];

/// What happens if a variable cannot be used.
pub(crate) const WITHOUT: &str = "requests go without it";

/// The variables that may name a proxy, for a request over https and over http. The first one with
/// a usable address counts.
const FOR_HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const FOR_HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// Hosts that are reached without a proxy. The first variable that is set counts.
const EXEMPT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy for a request to `url`, as `scheme://authority`. Calls `on_invalid` for each variable
/// that cannot be used. No proxy is used for this machine and for link-local addresses, which a
/// proxy cannot reach.
pub(crate) fn from_vars(
    get: Variables<'_>,
    url: &str,
    on_invalid: &mut dyn FnMut(InvalidVariable),
) -> Option<String> {
    let host = SinkRequest::host(url);
    if is_near(host) || is_exempt(get, host, on_invalid) {
        return None;
    }
    for name in if url.starts_with("http://") { FOR_HTTP } else { FOR_HTTPS } {
        match text(get, name) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => match address(&value) {
                Some(address) => return Some(address),
                None => on_invalid(InvalidVariable {
                    name,
                    takes: "the address of an http or https proxy",
                }),
            },
            Err(invalid) => on_invalid(invalid),
        }
    }
    None
}

/// True for a host that is surely this machine. IPv6 addresses are in brackets.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || ip_address(host).is_some_and(|address| address.is_loopback())
}

/// True for this machine, and for an address that only neighbours can reach.
pub(crate) fn is_near(host: &str) -> bool {
    is_loopback(host)
        || ip_address(host).is_some_and(|address| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        })
}

/// The address that a host is, with or without brackets.
pub(crate) fn ip_address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// True if the user wants requests to `host` to go without a proxy.
fn is_exempt(get: Variables<'_>, host: &str, on_invalid: &mut dyn FnMut(InvalidVariable)) -> bool {
    for name in EXEMPT {
        match text(get, name) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                let mut entries = value.split([',', ' ']);
                return entries.any(|entry| exempts(entry, host));
            }
            Err(invalid) => on_invalid(invalid),
        }
    }
    false
}

/// True if an entry of the list is `host`: a host, a domain (also with a dot or `*.` before it), an
/// address, a network (`10.0.0.0/8`), or everything (`*`).
fn exempts(entry: &str, host: &str) -> bool {
    if let Some(address) = ip_address(host) {
        let (network, length) = entry.split_once('/').unwrap_or((entry, ""));
        let length = if length.is_empty() { Ok(u32::MAX) } else { length.parse() };
        let network = ip_address(network).zip(length.ok());
        return entry == "*"
            || network.is_some_and(|(network, length)| is_in_network(address, network, length));
    }
    let domain = entry.strip_prefix('*').unwrap_or(entry);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let at = host.len().checked_sub(domain.len());
    let parts = at.and_then(|at| host.split_at_checked(at));
    let is_end = parts.is_some_and(|(before, end)| {
        let is_whole = before.is_empty() || before.ends_with('.');
        is_whole && end.eq_ignore_ascii_case(domain)
    });
    entry == "*" || !domain.is_empty() && is_end
}

/// True if the first `length` bits are the same.
fn is_in_network(address: IpAddr, network: IpAddr, length: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= length.min(u32::BITS)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= length.min(u128::BITS)
        }
        _ => false,
    }
}

/// The proxy that `[http://|https://][user[:password]@]host[:port][/]` names, with its scheme and
/// without the slash.
fn address(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    (is_user(user) && is_place(place)).then(|| [scheme, "://", authority].concat())
}

/// True for a name and a password in an address: UTF-8, with `%` escapes.
fn is_user(user: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
                bytes.push(high << 4 | low);
                rest = after;
            }
            (byte, _) if is_plain(*byte) => bytes.push(*byte),
            _ => return false,
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// True for a host, or a host and a port.
pub(crate) fn is_place(place: &str) -> bool {
    let (is_host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let end = place.find(':').unwrap_or(place.len());
            let (host, port) = place.split_at(end);
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            (!host.is_empty() && host.bytes().all(allowed), port)
        }
    };
    let is_port = |port: &str| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        is_number && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}
