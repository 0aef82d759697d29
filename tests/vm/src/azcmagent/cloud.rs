//! The requests that the agent makes.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::options::Credential;
use super::place::{Place, Whereabouts};
use super::trouble::{Code, Outcome, Trouble};
use crate::azure::client::client_through;

pub(super) struct Cloud {
    client: Client,
    there: Whereabouts,
    correlation_id: String,
}

/// An answer's status and body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    /// What it says of itself: the error's code and message, or the status.
    pub(super) fn said(&self) -> String {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let error = &self.body["error"];
        let code = text(&error["code"]).map(|code| format!("{code}: {}", text(&error["message"]).unwrap_or_default()));
        text(&self.body["error_description"]).or(code).unwrap_or_else(|| self.status.to_string())
    }
}

impl Cloud {
    pub(super) fn new(place: &Place, correlation_id: String) -> Outcome<Self> {
        let there = place.emulator()?;
        let ca = fs::read_to_string(&there.ca).with_context(|| format!("read `{}`", there.ca.display()))?;
        let proxy = place.settings()?.proxy_url;
        Ok(Self { client: client_through(proxy.as_deref(), &ca, patience())?, there, correlation_id })
    }

    /// Refuses a `--cloud` that leads elsewhere, where nobody knows this tenant.
    pub(super) fn is(&self, cloud: &str) -> Outcome<()> {
        if self.there.cloud == cloud {
            return Ok(());
        }
        Err(Trouble::new(Code::NoToken, format!("no access token could be had: {cloud} does not know the tenant")))
    }

    /// Azure Resource Manager.
    pub(super) fn arm(&self) -> &str {
        &self.there.arm
    }

    /// A token for ARM.
    pub(super) async fn token(&self, credential: &Credential) -> Outcome<String> {
        let (tenant, client_id, secret) = match credential {
            Credential::Token(token) => return Ok(token.clone()),
            Credential::Secret { tenant, client_id, secret } => (tenant, client_id, secret),
        };
        let audience = self.audience().await?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client_id)
            .append_pair("client_secret", secret)
            .append_pair("scope", &format!("{}/.default", audience.trim_end_matches('/')))
            .finish();
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.there.authority.trim_end_matches('/'));
        let request = self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = self.send(request).await?;
        match answer.body["access_token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => Err(Trouble::new(Code::NoToken, format!("no access token could be had: {}", answer.said()))),
        }
    }

    /// What ARM's tokens are for, as ARM says; also tells whether it can be reached.
    pub(super) async fn audience(&self) -> Outcome<String> {
        let url = format!("{}/metadata/endpoints?api-version=2022-09-01", self.there.arm.trim_end_matches('/'));
        let answer = self.send(self.client.get(url)).await?;
        let audience = answer.body["authentication"]["audiences"][0].as_str().map(str::to_owned);
        audience.ok_or_else(|| Trouble::new(Code::Network, format!("ARM does not describe itself: {}", answer.said())))
    }

    /// A request for this machine's resource.
    pub(super) async fn machine(&self, method: Method, id: &str, token: &str, body: Option<&Value>) -> Outcome<Answer> {
        let url = format!("{}{id}?api-version=2022-12-27", self.there.arm.trim_end_matches('/'));
        let mut request = self
            .client
            .request(method, url)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header("x-ms-correlation-request-id", &self.correlation_id);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        self.send(request).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Outcome<Answer> {
        let lost = |error: reqwest::Error| {
            let mut message = format!("Azure cannot be reached: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                message += &format!(": {error}");
                source = error.source();
            }
            Trouble::new(Code::Network, message)
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let body = response.bytes().await.map_err(lost)?;
        // Whatever is no JSON has nothing to say beyond its status.
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}

/// For one request: 30 seconds, or what `$AZCMAGENT_PATIENCE_SECONDS` says where a test does not want to wait so long.
fn patience() -> Duration {
    let said = std::env::var("AZCMAGENT_PATIENCE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(said.unwrap_or(30))
}
