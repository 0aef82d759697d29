//! HTTP as the join speaks it: whom TLS trusts, how an answer becomes a value or a typed error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, NoProxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Proxy, Secret};
use crate::failure::{Exit, Failure, plain};
use crate::retry::{Pace, Verdict};

/// Larger than any answer of the join; keeps a wrong server from filling the memory.
const LARGEST: usize = 1 << 20;

/// Why a request brought no value. Only these are told apart by code; everything else is `anyhow`.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No answer: the name, the connection, TLS, a timeout, an answer cut short.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Scheme, host and port, without path and query.
        host: String,
        /// All causes, outermost first.
        reason: String,
        /// Whether TLS refused the certificate.
        untrusted: bool,
    },
    /// The answer is a refusal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer is a success of another shape than documented: usually a proxy or portal in between.
    #[error("{host} answers with something else than {what}")]
    Garbled {
        /// Scheme, host and port.
        host: String,
        /// What was expected.
        what: &'static str,
    },
    /// The answer is right, and what is waited for is not in it yet.
    #[error("{0}")]
    Pending(String),
    /// What answers must not be followed or believed.
    #[error("{0}")]
    Distrusted(String),
    /// The question could not be asked: a secret that is not there, Azure CLI that is not logged in.
    #[error(transparent)]
    Unasked(#[from] Failure),
}

/// An answer that says no.
#[derive(Debug, thiserror::Error)]
#[error("{host} answers {status} {code}: {message}{}", request_id.as_ref().map(|id| format!(" (x-ms-request-id {id})")).unwrap_or_default())]
pub struct Refusal {
    /// Scheme, host and port.
    pub host: String,
    /// The HTTP status.
    pub status: u16,
    /// `error.code` of the body, `AADSTS<n>` of Entra ID, `reason` of Kubernetes; empty if the body has none.
    pub code: String,
    /// `error.message` or its like, as it may be shown.
    pub message: String,
    /// For Azure's support.
    pub request_id: Option<String>,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl HttpError {
    /// Worth another try: what a network, a proxy or a busy service does. Never a denial.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unreachable { .. } | Self::Garbled { .. } | Self::Pending(_) => Verdict::Again(None),
            Self::Refused(refusal) if refusal.is_passing() => Verdict::Again(refusal.retry_after),
            // A token that ran out under way, or a clock that was just set.
            Self::Refused(refusal) if refusal.code == "ExpiredAuthenticationToken" => Verdict::Again(None),
            Self::Refused(_) | Self::Distrusted(_) | Self::Unasked(_) => Verdict::Final,
        }
    }

    /// The refusal, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the answer is a refusal with this `error.code`.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code.eq_ignore_ascii_case(code))
    }

    /// As a failure with the exit code and the cure that fit everywhere; steps with a better cure say their own.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        if let Self::Unasked(failure) = self {
            return failure;
        }
        let (exit, hint) = self.cure();
        Failure::new(exit, self.to_string(), hint)
    }

    /// As a failure with this cure, in the exit code that fits.
    #[must_use]
    pub fn cured_by(self, hint: impl AsRef<str>) -> Failure {
        Failure::new(self.cure().0, self.to_string(), hint)
    }

    fn cure(&self) -> (Exit, &str) {
        match self {
            Self::Unasked(failure) => (failure.exit(), failure.hint()),
            Self::Unreachable { untrusted: true, .. } => (
                Exit::Transient,
                "see `timedatectl` for a wrong clock; if a proxy or an internal authority signs the certificate, \
                 name its PEM file in networking.caCertFile",
            ),
            Self::Unreachable { .. } => (
                Exit::Transient,
                "see whether DNS, the firewall and networking.httpProxyConfig let this machine reach it",
            ),
            Self::Garbled { .. } => {
                (Exit::Transient, "see what answers there: a proxy or a portal may be in between; it is tried again")
            }
            Self::Pending(_) => (Exit::Transient, "nothing to do; it is tried again"),
            Self::Distrusted(_) => {
                (Exit::Denied, "see what listens there: `ss -tlnp` and `systemctl status himdsd`, then try again")
            }
            Self::Refused(refusal) => refusal.cure(),
        }
    }
}

impl Refusal {
    fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
    }

    fn cure(&self) -> (Exit, &'static str) {
        match self.code.as_str() {
            "AADSTS7000215" | "AADSTS7000222" => (
                Exit::Denied,
                "put a valid secret of the application into the config: `az ad app credential reset --id APPID` makes \
                 one, shown once as `password`; not the secret's id",
            ),
            "AADSTS700016" => (
                Exit::BadConfig,
                "correct azure.servicePrincipal.clientId or its tenant: `az ad sp show --id APPID` tells whether it is \
                 there",
            ),
            "AADSTS90002" => {
                (Exit::BadConfig, "correct azure.tenantId: `az account show --query tenantId -o tsv` prints it")
            }
            "SubscriptionNotFound" | "InvalidSubscriptionId" => (
                Exit::BadConfig,
                "correct the subscription in azure.targetCluster.resourceId: `az account list -o table` lists yours",
            ),
            "ResourceNotFound" | "ResourceGroupNotFound" => (
                Exit::BadConfig,
                "correct azure.targetCluster.resourceId: `az aks list --query [].id -o tsv` lists the clusters",
            ),
            "ExpiredAuthenticationToken" => (Exit::Transient, "see `timedatectl`: the clock may be wrong"),
            _ if self.is_passing() => (Exit::Transient, "nothing to do; it is tried again"),
            _ if matches!(self.status, 401 | 403) => {
                (Exit::Denied, "grant what the message says, then `systemctl restart flexnode-firstboot`")
            }
            _ => {
                (Exit::BadConfig, "correct the config as the message says; `flexnode-firstboot check` shows its values")
            }
        }
    }
}

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

/// One request to a service that answers in JSON.
#[derive(Debug)]
pub struct Ask<'a> {
    /// With whom.
    pub client: &'a Client,
    /// How.
    pub method: Method,
    /// Where: a whole URL without secrets.
    pub url: String,
    /// The bearer token, if the service wants one.
    pub token: Option<&'a Secret>,
    /// The body, if there is one. Azure insists on a `Content-Length` of zero for a POST without one.
    pub body: Option<&'a Value>,
}

impl Ask<'_> {
    /// The answer as `T`; `what` names it in errors.
    ///
    /// # Errors
    /// Everything but a success of the right shape.
    pub async fn json<T: DeserializeOwned>(self, what: &'static str) -> Result<T, HttpError> {
        let host = origin(&self.url);
        let mut request = self.client.request(self.method.clone(), &self.url).header("Accept", "application/json");
        if let Some(token) = self.token {
            request = request.bearer_auth(token.expose());
        }
        request = match self.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None if self.method == Method::POST => request.header(CONTENT_LENGTH, "0"),
            None => request,
        };
        crate::crash::point();
        let response = request.send().await.map_err(|error| unreachable_by(&host, &error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response, &host).await?;
        crate::crash::point();
        if !(200..300).contains(&status) {
            return Err(refusal(&host, status, &headers, &body).into());
        }
        serde_json::from_slice(&body).map_err(|_| HttpError::Garbled { host, what })
    }
}

/// The body, if it is not larger than any that the join expects.
pub(crate) async fn read(
    mut response: reqwest::Response,
    host: &str,
) -> Result<zeroize::Zeroizing<Vec<u8>>, HttpError> {
    let mut body = zeroize::Zeroizing::new(Vec::with_capacity(64 << 10));
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable_by(host, &error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(HttpError::Garbled { host: host.to_owned(), what: "an answer of at most 1 MiB" });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The typed form of an answer that is no success: Azure's `error.code`, Entra ID's `error_codes`, Kubernetes' `reason`.
pub(crate) fn refusal(host: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Refusal {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        error: Value,
        error_description: String,
        error_codes: Vec<u64>,
        reason: String,
        message: String,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (code, message) = match (&body.error, body.error_codes.first()) {
        (_, Some(number)) => (format!("AADSTS{number}"), body.error_description),
        (Value::Object(error), None) => {
            (error.get("code").map(text).unwrap_or_default(), error.get("message").map(text).unwrap_or_default())
        }
        (Value::String(code), None) => (code.clone(), body.error_description),
        _ => (body.reason, body.message),
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Refusal {
        host: host.to_owned(),
        status,
        code: plain(&code),
        message: if message.is_empty() { "it does not say why".to_owned() } else { plain(&message) },
        request_id: header("x-ms-request-id").map(plain),
        // Seconds; the form with a date is used by none of these services.
        retry_after: header(RETRY_AFTER.as_str())
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs),
    }
}

/// All causes of an error, outermost first; a cause that its parent already quotes is left out.
pub(crate) fn unreachable_by(host: &str, error: &(dyn std::error::Error + 'static)) -> HttpError {
    let mut causes: Vec<String> = Vec::new();
    let mut untrusted = false;
    let mut next = Some(error);
    while let Some(cause) = next {
        // reqwest repeats the URL, whose query is of no use to people.
        let told =
            cause.downcast_ref::<reqwest::Error>().map_or_else(|| cause.to_string(), |error| kind(error).to_owned());
        if !told.is_empty() && !causes.last().is_some_and(|last| last.contains(&told)) {
            causes.push(told);
        }
        untrusted |= cause
            .downcast_ref::<rustls::Error>()
            .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
        // rustls' error travels inside an io::Error, whose source() skips it.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    HttpError::Unreachable { host: host.to_owned(), reason: plain(&causes.join(": ")), untrusted }
}

fn kind(error: &reqwest::Error) -> &'static str {
    match error {
        _ if error.is_timeout() => "no answer in time",
        _ if error.is_connect() => "no connection",
        _ if error.is_body() || error.is_decode() => "the answer ends early",
        _ => "",
    }
}

/// Scheme, host and port of a URL.
pub(crate) fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Refusal {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        refusal("https://arm.example", status, &map, body.as_bytes())
    }

    #[test]
    fn the_code_is_that_of_the_body_whoever_answers() {
        for (body, code) in [
            (r#"{"error":{"code":"AuthorizationFailed","message":"m"}}"#, "AuthorizationFailed"),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: m","error_codes":[7000215]}"#,
                "AADSTS7000215",
            ),
            (r#"{"error":"invalid_request","error_description":"m"}"#, "invalid_request"),
            (r#"{"kind":"Status","reason":"Forbidden","message":"m"}"#, "Forbidden"),
            ("<html>AuthorizationFailed</html>", ""),
            (r#"{"error":{"code":["AuthorizationFailed"]}}"#, ""),
        ] {
            assert_eq!(refused(403, &[], body).code, code, "{body}");
        }
    }

    #[test]
    fn a_message_names_the_request_for_support_and_steers_no_terminal() {
        let refusal =
            refused(400, &[("x-ms-request-id", "r-1")], "{\"error\":{\"code\":\"C\",\"message\":\"a\\u001b[2J b\"}}");
        assert_eq!(refusal.to_string(), "https://arm.example answers 400 C: a [2J b (x-ms-request-id r-1)");
    }

    #[test]
    fn only_what_can_change_is_tried_again() {
        let verdict = |status, headers: &[(&'static str, &'static str)], body| {
            HttpError::from(refused(status, headers, body)).verdict()
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(verdict(status, &[], ""), Verdict::Again(None), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 405, 409, 410, 412] {
            assert_eq!(verdict(status, &[], ""), Verdict::Final, "{status}");
        }
        let seven = Some(Duration::from_secs(7));
        assert_eq!(verdict(429, &[("retry-after", "7")], ""), Verdict::Again(seven));
        assert_eq!(verdict(429, &[("retry-after", "soon")], ""), Verdict::Again(None));
        assert_eq!(verdict(401, &[], r#"{"error":{"code":"ExpiredAuthenticationToken"}}"#), Verdict::Again(None));
        assert_eq!(HttpError::Distrusted(String::new()).verdict(), Verdict::Final);
        let silent = HttpError::Unreachable { host: String::new(), reason: String::new(), untrusted: true };
        assert_eq!(silent.verdict(), Verdict::Again(None));
    }

    #[test]
    fn each_refusal_ends_in_the_code_of_who_must_act() {
        let exit = |status, code: &str| {
            let body = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
            HttpError::from(refused(status, &[], &body)).cure().0
        };
        assert_eq!(exit(503, ""), Exit::Transient);
        assert_eq!(exit(403, "AuthorizationFailed"), Exit::Denied);
        assert_eq!(exit(404, "ResourceNotFound"), Exit::BadConfig);
        assert_eq!(exit(400, "InvalidApiVersionParameter"), Exit::BadConfig);
        let wrong_secret = r#"{"error":"invalid_client","error_codes":[7000215]}"#;
        assert_eq!(HttpError::from(refused(401, &[], wrong_secret)).cure().0, Exit::Denied);
    }

    #[test]
    fn an_origin_holds_no_path() {
        assert_eq!(origin("https://a.example:1/b/c?d=e"), "https://a.example:1");
        assert_eq!(origin("https://a.example"), "https://a.example");
    }
}
