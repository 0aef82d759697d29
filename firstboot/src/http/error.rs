//! Why a request brought no value: typed where code branches on it, with exit code and cure.

use std::time::Duration;

use crate::failure::{Exit, Failure};
use crate::retry::Verdict;

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
    /// The Arc agent on this machine gives no token, so the request proper was not made.
    #[error(transparent)]
    Himds(Box<HttpError>),
    /// The question could not be asked: a secret that is not there, Azure CLI that is not logged in.
    #[error(transparent)]
    Unasked(#[from] Failure),
}

/// An answer that says no.
#[derive(Debug, thiserror::Error)]
#[error("{host} answers {status} {code}: {}{}", self.said(), request_id.as_ref().map(|id| format!(" (x-ms-request-id {id})")).unwrap_or_default())]
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
            Self::Himds(error) => error.verdict(),
            Self::Unasked(failure) if failure.exit() == Exit::Transient => Verdict::Again(None),
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
            Self::Himds(error) => match error.verdict() {
                Verdict::Again(_) => (
                    Exit::Transient,
                    "see `systemctl status himdsd` and `journalctl -u himdsd`: it is tried again, and may have to be \
                     restarted",
                ),
                Verdict::Final => error.cure(),
            },
            Self::Refused(refusal) => refusal.cure(),
        }
    }
}

impl Refusal {
    /// The message without its code, with which Entra ID's begin.
    fn said(&self) -> &str {
        let rest = self.message.strip_prefix(&self.code).and_then(|rest| rest.strip_prefix(": "));
        rest.unwrap_or(&self.message)
    }

    fn is_passing(&self) -> bool {
        self.is_busy() || self.is_of_somebody_else() || self.is_about_the_token()
    }

    fn is_busy(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
    }

    /// All these services say in a code why they refuse. What has none (a page, a redirect) comes from a portal, a
    /// proxy or a load balancer that answers in their place, today.
    fn is_of_somebody_else(&self) -> bool {
        self.code.is_empty()
    }

    /// The token is over, does not hold yet, or got lost under way: a clock that is wrong or was just set, a key that
    /// is not known everywhere yet, a proxy that drops `Authorization`. Each attempt comes with a new one. That the
    /// token is for another tenant or audience has codes of its own. API servers only ever say `Unauthorized`, also
    /// when what checks tokens for them is down.
    fn is_about_the_token(&self) -> bool {
        let codes =
            ["ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed", "Unauthorized"];
        self.status == 401 && codes.contains(&self.code.as_str())
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
            _ if self.is_busy() => (Exit::Transient, "nothing to do; it is tried again"),
            _ if self.is_of_somebody_else() => {
                (Exit::Transient, "see what answers there: a proxy or a portal may be in between; it is tried again")
            }
            _ if self.is_about_the_token() => (
                Exit::Transient,
                "see `timedatectl` for a wrong clock, and whether a proxy drops `Authorization`; it is tried again",
            ),
            _ if matches!(self.status, 401 | 403) => {
                (Exit::Denied, "grant what the message says, then `systemctl restart flexnode-firstboot`")
            }
            _ => {
                (Exit::BadConfig, "correct the config as the message says; `flexnode-firstboot check` shows its values")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refused;
    use super::*;

    #[test]
    fn only_what_can_change_is_tried_again() {
        let verdict = |status, headers: &[(&'static str, &'static str)], body: &str| {
            HttpError::from(refused(status, headers, body)).verdict()
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(verdict(status, &[], ""), Verdict::Again(None), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 410, 412] {
            assert_eq!(verdict(status, &[], r#"{"error":{"code":"Some"}}"#), Verdict::Final, "{status}");
            assert_eq!(verdict(status, &[], "<html>"), Verdict::Again(None), "{status} of a portal");
        }
        assert_eq!(verdict(302, &[], ""), Verdict::Again(None));
        let seven = Some(Duration::from_secs(7));
        assert_eq!(verdict(429, &[("retry-after", "7")], ""), Verdict::Again(seven));
        assert_eq!(verdict(429, &[("retry-after", "soon")], ""), Verdict::Again(None));
        for code in ["ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed"] {
            let body = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
            assert_eq!(verdict(401, &[], &body), Verdict::Again(None), "{code}");
        }
        assert_eq!(verdict(401, &[], r#"{"kind":"Status","reason":"Unauthorized"}"#), Verdict::Again(None));
        let tenant = r#"{"error":{"code":"InvalidAuthenticationTokenTenant"}}"#;
        assert_eq!(verdict(401, &[], tenant), Verdict::Final);
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
        assert_eq!(exit(403, ""), Exit::Transient, "a page says nothing about rights");
        assert_eq!(exit(403, "AuthorizationFailed"), Exit::Denied);
        assert_eq!(exit(404, "ResourceNotFound"), Exit::BadConfig);
        assert_eq!(exit(400, "InvalidApiVersionParameter"), Exit::BadConfig);
        let wrong_secret = r#"{"error":"invalid_client","error_codes":[7000215]}"#;
        assert_eq!(HttpError::from(refused(401, &[], wrong_secret)).cure().0, Exit::Denied);
    }
}
