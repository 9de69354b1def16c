//! A server with a new certificate. TLS 1.3 only.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

use crate::certificate::ServerCertificate;

/// Writes the authority's certificate to `ca_file` and uses one that it signed.
pub(super) fn config(ca_file: &Path) -> io::Result<Arc<ServerConfig>> {
    let ServerCertificate { ca, certificate, key } = ServerCertificate::new()?;
    std::fs::write(ca_file, ca)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map(Arc::new)
        .map_err(io::Error::other)
}
