//! The API server of a kubeconfig, asked with a token of the kubeconfig's exec plugin.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::azure::client;

pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    plugin: String,
}

impl Client {
    pub(super) fn of_kubeconfig(path: &Path) -> Result<Self> {
        let context = || format!("invalid kubeconfig {}", path.display());
        let text = fs::read_to_string(path).with_context(context)?;
        let document: Value = serde_yaml::from_str(&text).with_context(context)?;
        let cluster = &document["clusters"][0]["cluster"];
        let exec = &document["users"][0]["user"]["exec"];
        let text = |value: &Value| value.as_str().map(str::to_owned).with_context(context);
        ensure!(exec["apiVersion"] == VERSION && exec["interactiveMode"] == "Never", context());
        let ca = STANDARD.decode(text(&cluster["certificate-authority-data"])?).with_context(context)?;
        let http = client::client(&String::from_utf8(ca).with_context(context)?, Duration::from_secs(10))?;
        Ok(Self { http, server: text(&cluster["server"])?, plugin: text(&exec["command"])? })
    }

    /// The answer's object, or `None` where there is none of that name.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>> {
        let patches = method == Method::PATCH;
        let mut request = self.http.request(method, format!("{}{path}", self.server)).bearer_auth(self.token().await?);
        if let Some(body) = body {
            let kind = if patches { "application/strategic-merge-patch+json" } else { "application/json" };
            request = request.header(CONTENT_TYPE, kind).body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("ask {}", self.server))?;
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).with_context(|| format!("read {path}"))?;
        match status.as_u16() {
            200 | 201 => Ok(Some(body)),
            404 => Ok(None),
            status => bail!("{path}: {status} {}", body["message"].as_str().unwrap_or_default()),
        }
    }

    /// A fresh one for each request: the real one keeps it until it expires.
    async fn token(&self) -> Result<String> {
        let info = json!({"apiVersion": VERSION, "kind": "ExecCredential", "spec": {"interactive": false}});
        let output = Command::new(&self.plugin)
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .output()
            .await
            .with_context(|| format!("run {}", self.plugin))?;
        let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        ensure!(output.status.success(), "getting credentials: {}: {said}", self.plugin);
        let credential: Value = serde_json::from_slice(&output.stdout).context("getting credentials")?;
        ensure!(credential["apiVersion"] == VERSION && credential["kind"] == "ExecCredential", "getting credentials");
        credential["status"]["token"].as_str().map(str::to_owned).context("getting credentials: no token")
    }
}

const VERSION: &str = "client.authentication.k8s.io/v1";
