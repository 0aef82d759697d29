//! A plain HTTP client that trusts what a test tells it to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A client that trusts the authorities in `ca_pem` and no others, follows no redirect and uses no proxy.
///
/// # Errors
/// When `ca_pem` holds something else than certificates.
pub fn client(ca_pem: &str, timeout: Duration) -> Result<reqwest::Client> {
    client_through(None, ca_pem, timeout)
}

/// The same through a proxy, if there is one.
///
/// # Errors
/// As for [`client`], and when `proxy` is no URL.
pub fn client_through(proxy: Option<&str>, ca_pem: &str, timeout: Duration) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(ca_pem)?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout);
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).context("read the proxy's URL")?);
    }
    builder.build().context("set up an HTTP client")
}

/// TLS that trusts the authorities in `ca_pem` and no others.
///
/// # Errors
/// As for [`client`].
pub fn tls(ca_pem: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.context("read a certificate")?).context("trust a certificate")?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
