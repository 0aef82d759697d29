//! HIMDS as a program of its own, for a machine whose loopback the emulator cannot serve: it makes and checks the
//! challenges, and gets the tokens from the emulator.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Extract};
use axum::response::Response;
use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::client::client;
use super::entra::HIMDSD;
use super::himds::{AgentConfig, Ask, Site, admit, not_connected, unavailable};

/// Where it is on every machine.
const PORT: u16 = 40342;

/// One machine's HIMDS, apart from the emulator. A restart forgets challenges and tokens.
#[derive(Debug)]
pub struct HimdsDaemon {
    site: Site,
    state: PathBuf,
    emulator: String,
    client: reqwest::Client,
    /// Answers by what was asked, with the second at which their tokens end.
    cache: Mutex<HashMap<String, (u64, Value)>>,
}

impl HimdsDaemon {
    /// For the machine whose agent keeps its state in `state`; `emulator` is Entra ID's origin, trusted by `ca_pem`.
    ///
    /// # Errors
    /// When the folder for challenges cannot be made, or `ca_pem` holds no certificates.
    pub fn new(state: &Path, emulator: &str, ca_pem: &str) -> Result<Self> {
        let tokens = state.join("tokens");
        Ok(Self {
            site: Site::new(state, &tokens, &tokens)?,
            state: state.to_owned(),
            emulator: emulator.trim_end_matches('/').to_owned(),
            client: client(ca_pem, Duration::from_secs(30))?,
            cache: Mutex::default(),
        })
    }

    /// Serves for ever, and calls `ready` once it listens.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn serve(self, ready: impl FnOnce() -> Result<()>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("start a thread for requests")?.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await;
            let listener = listener.with_context(|| format!("listen on port {PORT}"))?;
            ready()?;
            let app = Router::new().fallback(answer).with_state(Arc::new(self));
            axum::serve(listener, app).await.context("serve")
        })
    }

    async fn token(&self, resource: &str) -> Result<Reply, Reply> {
        let config = fs::read(self.state.join(AgentConfig::FILE)).map_err(|_| not_connected())?;
        let config: AgentConfig = serde_json::from_slice(&config).map_err(|_| not_connected())?;
        let ask = Ask { machine: config.resource_id(), vm_id: config.vm_id, resource: resource.to_owned() };
        let asked = json!(ask).to_string();
        let now = now().as_secs();
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&asked).cloned();
        if let Some((end, mut body)) = cached.filter(|(end, _)| *end > now) {
            body["expires_in"] = json!((end - now).to_string());
            return Ok(Reply::json(200, &body));
        }
        let url = format!("{}/{HIMDSD}", self.emulator);
        let lost = |_| unavailable(500);
        let response = self.client.post(url).body(asked.clone()).send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(lost)?;
        let body: Value = serde_json::from_slice(&bytes).map_err(|_| unavailable(500))?;
        if status == 200 {
            let end = body["expires_on"].as_str().and_then(|end| end.parse().ok()).ok_or_else(|| unavailable(500))?;
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, (end, body.clone()));
        }
        Ok(Reply::json(status, &body))
    }
}

/// Larger than any request for a token.
const LARGEST: usize = 1 << 16;

async fn answer(Extract(daemon): Extract<Arc<HimdsDaemon>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut call = Call::new(parts.method, &parts.uri, parts.headers, now());
    let reply = match to_bytes(body, LARGEST).await {
        Ok(body) => {
            call.body = body;
            match admit(&daemon.site, &call, call.now) {
                Ok(resource) => daemon.token(&resource).await.unwrap_or_else(|refusal| refusal),
                Err(refusal) => refusal,
            }
        }
        Err(_) => unavailable(413),
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap_or_default()
}

/// Before 1970 there was no Azure.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
