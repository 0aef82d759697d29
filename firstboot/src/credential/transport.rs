//! The way to Entra ID: our own HTTP client under azure_identity, and azure_identity's errors as ours.

use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use reqwest::Client;

use super::azure_cli::words;
use crate::failure::{Exit, Failure, plain};
use crate::http::{HttpError, Refusal, unreachable_by};

/// azure_identity's transport. It reads JSON even from answers that have none, and then forgets their status, so
/// those that mean "busy" are told apart here.
#[derive(Debug)]
pub(super) struct Plain(pub(super) Client);

#[derive(Debug, thiserror::Error)]
#[error("busy")]
struct Busy {
    status: u16,
    retry_after: Option<Duration>,
}

#[async_trait::async_trait]
impl HttpClient for Plain {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await?;
        let status = u16::from(answer.status());
        if matches!(status, 408 | 425 | 429 | 500..=599) {
            let header = azure_core::http::headers::HeaderName::from_static("retry-after");
            let retry_after =
                answer.headers().get_optional_str(&header).and_then(|seconds| seconds.trim().parse().ok());
            let busy = Busy { status, retry_after: retry_after.map(Duration::from_secs) };
            return Err(azure_core::Error::with_error(ErrorKind::Other, busy, "busy"));
        }
        Ok(answer)
    }
}

/// azure_identity's error as ours: what it holds lies somewhere along its causes.
pub(super) fn typed(host: &str, error: &azure_core::Error) -> HttpError {
    let refusal = |status, code, message, retry_after| Refusal {
        host: host.to_owned(),
        status,
        code,
        message,
        request_id: None,
        retry_after,
    };
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(busy) = cause.downcast_ref::<Busy>() {
            let message = "it is busy".to_owned();
            return refusal(busy.status, String::new(), message, busy.retry_after).into();
        }
        if let Some(error) = cause.downcast_ref::<azure_core::Error>()
            && let ErrorKind::HttpResponse { status, error_code, .. } = error.kind()
        {
            let first = error_code.as_deref().and_then(|codes| codes.split(',').next());
            let code = first.map(|number| format!("AADSTS{number}")).unwrap_or_default();
            return refusal((*status).into(), code, plain(&error.to_string()), None).into();
        }
        if let Some(error) = cause.downcast_ref::<azure_core::Error>()
            && matches!(error.kind(), ErrorKind::DataConversion)
        {
            return HttpError::Garbled { host: host.to_owned(), what: "a token" };
        }
        if let Some(cause) = cause.downcast_ref::<reqwest::Error>() {
            return unreachable_by(host, cause);
        }
        next = cause.source();
    }
    Failure::new(Exit::Transient, words(error), "see whether DNS, the firewall and the proxy let this machine sign in")
        .into()
}
