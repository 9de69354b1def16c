//! How the child finds and reaches an address: ureq's way, without the parts that are not used
//! here.
//!
//! ureq's usual resolver can start a thread, and its usual connector asks for TLS providers that
//! are not built in. Without both the layer's file has 33 kB less, and its zip 18 kB.

use std::net::ToSocketAddrs;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, NextTimeout, RustlsConnector, TcpConnector,
};

/// Connects, through the user's proxy if there is one, and with TLS if the address is https.
pub(super) fn connector() -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(RustlsConnector::default())
}

/// Asks libc, and waits as long as that takes. The agent ends a child that is late.
#[derive(Debug)]
pub(super) struct LibcResolver;

impl Resolver for LibcResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let parts = uri.scheme().zip(uri.authority());
        let name =
            parts.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let name = name.ok_or(Error::HostNotFound)?;
        let mut addresses = self.empty();
        for address in name.to_socket_addrs()?.take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// As many addresses as ureq has room for.
const ADDRESSES_MAX: usize = 16;
