//! A new authority, and a certificate for loopback that it has signed.

use std::io;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What a server on loopback needs for TLS, and its clients.
pub(crate) struct ServerCertificate {
    /// The authority's certificate, in PEM, for the clients.
    pub(crate) ca: String,
    /// The server's certificate, for `localhost` and `127.0.0.1`.
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl ServerCertificate {
    pub(crate) fn new() -> io::Result<Self> {
        let ca_key = KeyPair::generate().map_err(io::Error::other)?;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "oom-witness sandbox");
        let ca_certificate = ca.self_signed(&ca_key).map_err(io::Error::other)?;

        let key = KeyPair::generate().map_err(io::Error::other)?;
        let names = vec!["localhost".to_string(), "127.0.0.1".to_string()];
        let leaf = CertificateParams::new(names).map_err(io::Error::other)?;
        let issuer = Issuer::new(ca, ca_key);
        let certificate = leaf.signed_by(&key, &issuer).map_err(io::Error::other)?;
        Ok(Self { ca: ca_certificate.pem(), certificate, key })
    }
}
