//! How the child finds and reaches an address: ureq's own way without what is never used here.
//!
//! Its usual resolver can start a thread, and its usual connector asks for providers of TLS that
//! are not built in. What nothing names is not in the file: 33 kB of the layer, 18 kB of its zip.

use std::net::ToSocketAddrs;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, NextTimeout, RustlsConnector, TcpConnector,
};

/// A socket, by the user's proxy if there is one, with TLS where the address is https.
pub(super) fn connector() -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(RustlsConnector::default())
}

/// Asks libc, and waits as long as that takes: the agent ends the child.
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

/// As many as there is room for.
const ADDRESSES_MAX: usize = 16;
