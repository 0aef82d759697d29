//! One request, and how its answer becomes a value or a typed error.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{HttpError, Refusal};
use crate::config::Secret;
use crate::failure::plain;

/// Larger than any answer of the join; keeps a wrong server from filling the memory.
const LARGEST: usize = 1 << 20;

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
fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::refused;
    use super::*;

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
    fn an_origin_holds_no_path() {
        assert_eq!(origin("https://a.example:1/b/c?d=e"), "https://a.example:1");
        assert_eq!(origin("https://a.example"), "https://a.example");
    }
}
