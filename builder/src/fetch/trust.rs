//! Whom TLS trusts: the system's certificate authorities and those of `--ca-cert`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::failure::{Class, Failure};

/// The system's roots and those of `--ca-cert`.
pub(super) fn tls(ca_certs: &[PathBuf]) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    // A machine without any is no error yet: mirrors can be plain HTTP, and if not, TLS says what it lacks.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in ca_certs {
        let refuse = |why: String| {
            Failure::new(Class::Usage, format!("cannot use --ca-cert {}: {why}", path.display()))
                .hint("it must be a PEM file with `-----BEGIN CERTIFICATE-----`")
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
        let mut any = false;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
            any = true;
        }
        if !any {
            return Err(refuse("it holds no certificate".to_owned()).into());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
