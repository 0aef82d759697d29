//! The kubelet's kubeconfig: server and CA from Azure, the machine's own identity as its user, nothing else.

use std::time::Duration;

use anyhow::Result;
use azure_core::base64;
use serde::Deserialize;
use serde_json::json;

use crate::arm::Caller;
use crate::atomic;
use crate::config::Secret;
use crate::config::endpoint::Endpoint;
use crate::http::HttpError;
use crate::join::Join;
use crate::paths;
use crate::retry::{Schedule, Verdict};
use crate::services::KubeletFiles;
use crate::stale::Suspicion;
use crate::state::Step;

/// Azure documents up to 30 minutes until a new role is known everywhere; it is mostly less than four.
const DEADLINE: Duration = Duration::from_secs(35 * 60);

/// What is kept of the cluster's kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiServer {
    /// Its URL, an https origin.
    pub(crate) server: String,
    /// Certificates of its authority, PEM.
    pub(crate) authority: Vec<u8>,
}

/// Fetches server and CA with the machine's own identity, which proves that its role has arrived.
///
/// # Errors
/// When it is denied for longer than roles take to arrive.
pub(crate) async fn fetch(join: &Join<'_>) -> Result<ApiServer> {
    let machine = Caller::Machine(&join.himds, &join.audience);
    let mut suspicion = Suspicion::default();
    let ask = async || {
        let answer = ask(join, machine).await;
        if answer.as_ref().is_err_and(is_denied) {
            suspicion.denied(join, &join.audience).await?;
        }
        answer
    };
    let verdict = |error: &HttpError| if is_denied(error) { Verdict::Again(None) } else { error.verdict() };
    join.ask(Step::Kubeconfig, Schedule::until(DEADLINE), ask, verdict).await.map_err(|error| {
        if is_denied(&error) {
            let hint = format!(
                "see whether the role has arrived: az role assignment list --scope \"{}\" --query \
                 \"[?principalType=='ServicePrincipal']\" -o table",
                join.settings.cluster
            );
            return error.cured_by(hint).into();
        }
        error.into_failure().into()
    })
}

/// Asks once.
///
/// # Errors
/// See [`HttpError`].
pub(crate) async fn ask(join: &Join<'_>, machine: Caller<'_>) -> Result<ApiServer, HttpError> {
    let kubeconfig = join.arm.user_kubeconfig(machine, &join.settings.cluster).await?;
    ApiServer::read(&kubeconfig)
}

/// Writes the CA and the kubeconfig where they differ, and tells whether one did.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn install(join: &Join<'_>, api: &ApiServer) -> Result<()> {
    let files = KubeletFiles::of(join.host);
    atomic::directory(&join.host.path("/etc/kubernetes/pki"), 0o755)?;
    files.put(paths::CLUSTER_CA, &api.authority, 0o644)?;
    files.put(paths::KUBECONFIG, &document(join, api), 0o600)
}

/// Whether both files are what `install` would write.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn is_installed(join: &Join<'_>, api: &ApiServer) -> Result<bool> {
    let same = |path: &str, bytes: &[u8], mode| atomic::holds(&join.host.path(path), bytes, mode);
    Ok(same(paths::CLUSTER_CA, &api.authority, 0o644)? && same(paths::KUBECONFIG, &document(join, api), 0o600)?)
}

/// The kubeconfig, as JSON: YAML readers disagree on `no` and `1.30`, not on JSON.
fn document(join: &Join<'_>, api: &ApiServer) -> Vec<u8> {
    let cluster = &join.settings.cluster.name;
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": cluster, "cluster": {
            "server": api.server,
            "certificate-authority-data": base64::encode(&api.authority),
        }}],
        "users": [{ "name": "machine", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": join.host.path(paths::TOKEN_SCRIPT),
            "interactiveMode": "Never",
            "provideClusterInfo": false,
        }}}],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": "machine" }}],
        "current-context": cluster,
    });
    format!("{document:#}\n").into_bytes()
}

impl ApiServer {
    /// Server and CA of the first cluster; users are not even read.
    fn read(kubeconfig: &Secret) -> Result<Self, HttpError> {
        #[derive(Deserialize)]
        struct Kubeconfig {
            clusters: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            cluster: Cluster,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Cluster {
            server: String,
            certificate_authority_data: String,
        }
        let garbled = || HttpError::Garbled { host: "Azure".to_owned(), what: "a kubeconfig with a server and its CA" };
        let kubeconfig: Kubeconfig = serde_yaml::from_str(kubeconfig.expose()).map_err(|_| garbled())?;
        let Named { cluster } = kubeconfig.clusters.into_iter().next().ok_or_else(garbled)?;
        let server: Endpoint = cluster.server.parse().map_err(|_| garbled())?;
        let authority = base64::decode(cluster.certificate_authority_data.trim()).map_err(|_| garbled())?;
        if !server.is_secure() || !is_certificate(&authority) {
            return Err(garbled());
        }
        Ok(Self { server: server.to_string(), authority })
    }
}

fn is_certificate(pem: &[u8]) -> bool {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}

/// By Azure itself, which says so in a code; a portal's 403 denies nothing.
fn is_denied(error: &HttpError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.status == 403 && !refusal.code.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    fn read(server: &str, authority: &str) -> Result<ApiServer, HttpError> {
        let text = format!(
            "clusters: [{{name: c, cluster: {{server: '{server}', certificate-authority-data: {}}}}}]\n\
             users: [{{name: admin, user: {{client-key-data: canary}}}}]",
            base64::encode(authority)
        );
        ApiServer::read(&Secret::from(text))
    }

    #[test]
    fn server_and_ca_are_kept_and_the_user_is_not() {
        let api = read("https://c.example:443", PEM).unwrap();
        assert_eq!((api.server.as_str(), api.authority.as_slice()), ("https://c.example:443", PEM.as_bytes()));
        assert!(!format!("{api:?}").contains("canary"));
    }

    #[test]
    fn what_a_kubelet_must_not_be_sent_to_is_refused() {
        for (server, authority) in [
            ("http://c.example", PEM),
            ("https://u:p@c.example", PEM),
            ("https://c.example", ""),
            ("https://c.example", "PEM"),
        ] {
            assert!(read(server, authority).is_err(), "{server} {authority}");
        }
        assert!(ApiServer::read(&Secret::from("clusters: []".to_owned())).is_err());
    }
}
