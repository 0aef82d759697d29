//! The way to the outside: whom TLS trusts, proxies, patience.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::{Client, NoProxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::Proxy;
use crate::failure::{Exit, Failure};
use crate::retry::Pace;

/// How to reach the outside: trust, proxies and patience, of which clients are made.
#[derive(Debug, Clone)]
pub struct Network {
    proxy: Proxy,
    patience: Duration,
}

impl Network {
    /// The way out of the site. One request may take 30 seconds at full pace, and never less than 2.
    #[must_use]
    pub fn new(proxy: Proxy, pace: Pace) -> Self {
        Self { proxy, patience: pace.of(Duration::from_secs(30)).max(Duration::from_secs(2)) }
    }

    /// For Azure: trusts the system's authorities and those of `extra`.
    ///
    /// # Errors
    /// When `extra` is no PEM file with certificates.
    pub fn azure(&self, extra: Option<&Path>) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        // An image without any is no error yet: a site may have its own only, and TLS says what it lacks.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = extra {
            let read = || -> Result<()> { add(&mut roots, &std::fs::read(path)?) };
            let mut read = read;
            read().map_err(|error| {
                Failure::new(
                    Exit::BadConfig,
                    format!("networking.caCertFile: cannot use {}: {error:#}", path.display()),
                    "it must be a PEM file with `-----BEGIN CERTIFICATE-----` that root can read",
                )
            })?;
        }
        self.client(Some(roots))
    }

    /// For an API server: trusts the cluster's authority alone.
    ///
    /// # Errors
    /// When `authority` holds no certificate in PEM.
    pub fn cluster(&self, authority: &[u8]) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        add(&mut roots, authority).context("reading the certificate authority of the cluster")?;
        self.client(Some(roots))
    }

    /// For this machine's own services: no TLS to trust, and never through a proxy.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn loopback(&self) -> Result<Client> {
        Self { proxy: Proxy { http: None, https: None, bypass: Vec::new() }, ..self.clone() }.client(None)
    }

    fn client(&self, roots: Option<RootCertStore>) -> Result<Client> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.unwrap_or_else(RootCertStore::empty))
            .with_no_client_auth();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("flexnode-firstboot/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry the token to who knows whom; none of these services sends one.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.patience.min(Duration::from_secs(10)))
            .timeout(self.patience)
            // What the config does not say comes from nowhere else: not from the environment either.
            .no_proxy();
        let bypass = NoProxy::from_string(&self.proxy.bypass.join(","));
        if let Some(proxy) = &self.proxy.http {
            builder = builder.proxy(reqwest::Proxy::http(proxy.to_string())?.no_proxy(bypass.clone()));
        }
        if let Some(proxy) = &self.proxy.https {
            builder = builder.proxy(reqwest::Proxy::https(proxy.to_string())?.no_proxy(bypass));
        }
        builder.build().context("setting up HTTP")
    }
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<()> {
    let mut any = false;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
        any = true;
    }
    if any { Ok(()) } else { Err(anyhow!("it holds no certificate")) }
}
