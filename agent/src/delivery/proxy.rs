//! The user's proxy, from the variables that most programs know.
//!
//! In: the environment, and the host of an intake. Out: the address of the http or https proxy for
//! requests to that host, or none. The agent asks in order to warn, and the child in order to send.
//! Both get the same answer. Nothing here connects.

use std::net::{IpAddr, Ipv6Addr};

use crate::variable::{InvalidVariable, Variables, text};

#[cfg(test)]
mod tests;

/// The lines of `--help`.
pub(crate) const HELP: &str = "\
    ALL_PROXY, HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                              an http or https proxy for requests
";

/// What happens if a variable cannot be used.
pub(crate) const WITHOUT: &str = "requests go without it";

/// The variables that may name a proxy. The first one with a usable address counts.
const NAMES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// Hosts that are reached without a proxy. The first variable that is set counts.
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy for requests to `host`, as `scheme://authority`. Calls `on_invalid` for each variable
/// that cannot be used. Requests to this machine never go through a proxy.
pub(crate) fn from_vars(
    get: Variables<'_>,
    host: &str,
    on_invalid: &mut dyn FnMut(InvalidVariable),
) -> Option<String> {
    if is_loopback(host) || is_exempt(get, host, on_invalid) {
        return None;
    }
    for name in NAMES {
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
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// True if the user wants requests to `host` to go without a proxy. An entry is a host, a domain
/// (with a dot or `*.` before it, or without), the beginning of an address (`10.*`), or everything
/// (`*`).
fn is_exempt(get: Variables<'_>, host: &str, on_invalid: &mut dyn FnMut(InvalidVariable)) -> bool {
    let is_match = |entry: &str| {
        let begins = |start: &str| {
            host.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        };
        let ends = |domain: &str| {
            let at = host.len().checked_sub(domain.len());
            at.and_then(|at| host.split_at_checked(at)).is_some_and(|(before, end)| {
                let is_whole = before.is_empty() || before.ends_with('.');
                is_whole && end.eq_ignore_ascii_case(domain)
            })
        };
        let domain = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')).unwrap_or(entry);
        match entry.strip_suffix('*') {
            Some(start) => begins(start),
            None => !domain.is_empty() && ends(domain),
        }
    };
    for name in EXEMPT {
        match text(get, name) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => return value.split(',').map(str::trim).any(is_match),
            Err(invalid) => on_invalid(invalid),
        }
    }
    false
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
