//! A certificate authority for one test.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// An authority that no system trusts.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes its key and certificate.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn new() -> Result<Self> {
        Self::named("Flexnode test authority")
    }

    /// The same with a name of its own: two of one name are taken for each other until the signature is checked.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().context("make the authority's key")?;
        let pem = params.self_signed(&key).context("sign the authority")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate, for `--ca-cert`.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn acceptor(&self, names: &[&str]) -> Result<TlsAcceptor> {
        let names: Vec<String> = names.iter().chain(&["127.0.0.1"]).map(ToString::to_string).collect();
        let params = CertificateParams::new(names).context("name the server's certificate")?;
        Ok(TlsAcceptor::from(Arc::new(self.server(&params)?)))
    }

    /// A TLS server with a new key and a certificate of this authority.
    pub(crate) fn server(&self, params: &CertificateParams) -> Result<ServerConfig> {
        let key = KeyPair::generate().context("make the server's key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign the server's certificate")?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(config)
    }
}
