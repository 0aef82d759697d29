//! Versions and cipher suites of TLS, by Go's names, and the file of client CAs.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

/// Checks them as the kubelet does when it prepares its server.
pub(super) fn check(fields: &Map<String, Value>) -> Result<()> {
    let version = fields.get("tlsMinVersion").and_then(Value::as_str).unwrap_or_default();
    ensure!(version.is_empty() || VERSIONS.contains(&version), "unknown tls version {version:?}");
    let suites = fields.get("tlsCipherSuites").and_then(Value::as_array).into_iter().flatten();
    for suite in suites.filter_map(Value::as_str) {
        ensure!(SUITES.contains(&suite), "Cipher suite {suite} not supported or doesn't exist");
    }
    let ca = fields.get("authentication").and_then(|part| part["x509"]["clientCAFile"].as_str()).unwrap_or_default();
    if !ca.is_empty() {
        let text = fs::read_to_string(ca).with_context(|| format!("unable to load client CA file {ca}"))?;
        let has_one = text.contains("-----BEGIN CERTIFICATE-----");
        ensure!(has_one, "unable to load client CA file {ca}: data does not contain any valid certificates");
    }
    Ok(())
}

const VERSIONS: [&str; 4] = ["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"];

/// From the reference page of 1.34, `--tls-cipher-suites`: the preferred values, then the insecure ones.
const SUITES: [&str; 27] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];
