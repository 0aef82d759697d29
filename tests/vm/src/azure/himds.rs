//! HIMDS, the machine's identity endpoint: who can read a file that it names gets a token.
//!
//! Which machine this is stands in the Arc agent's state, as on a real one: `agentconfig.json`, written by
//! `azcmagent connect`. A file `himdsd` beside it takes the place of the service manager: when its content changes,
//! HIMDS takes itself for restarted.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::{Call, Outcome, Reply, settle};
use super::guid;
use super::state::State;
use super::things::Machine;
use super::token::{Bearer, Issued};

/// What the Arc agent knows about the machine, its `agentconfig.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// The subscription.
    pub subscription_id: String,
    /// The resource group.
    pub resource_group: String,
    /// The machine's name in ARM.
    pub resource_name: String,
    /// The tenant.
    pub tenant_id: String,
    /// The region.
    pub location: String,
    /// The cloud, as `azcmagent --cloud` has it.
    pub cloud: String,
    /// What the agent calls itself.
    pub vm_id: String,
    /// The id under which it was connected.
    pub correlation_id: String,
}

impl AgentConfig {
    /// Name of the file in the Arc agent's state.
    pub const FILE: &str = "agentconfig.json";

    /// The resource id of the machine.
    #[must_use]
    pub fn resource_id(&self) -> String {
        let Self { subscription_id, resource_group, resource_name, .. } = self;
        format!(
            "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.HybridCompute/machines/{resource_name}"
        )
    }
}

/// One machine's HIMDS.
#[derive(Debug)]
pub(super) struct Site {
    state: PathBuf,
    tokens: PathBuf,
    /// The same folder, as the machine sees it.
    named: PathBuf,
    memory: Mutex<Memory>,
}

/// What a restart forgets.
#[derive(Debug, Default)]
struct Memory {
    /// Tokens by resource.
    cache: HashMap<String, Issued>,
    /// Secrets of the challenges that nobody has met yet, by the file's name.
    challenges: HashMap<String, Challenge>,
    /// Content of the file that stands for the service manager.
    start: Vec<u8>,
    /// The secret of every challenge so far, met or not.
    secrets: Vec<String>,
}

#[derive(Debug)]
struct Challenge {
    secret: String,
    made: Duration,
}

impl Site {
    pub(super) fn new(state: &Path, tokens: &Path, named: &Path) -> Result<Self> {
        fs::create_dir_all(tokens).with_context(|| format!("create `{}`", tokens.display()))?;
        let site = Self {
            state: state.to_owned(),
            tokens: tokens.to_owned(),
            named: named.to_owned(),
            memory: Mutex::default(),
        };
        site.memory().start = site.start();
        Ok(site)
    }

    pub(super) fn restart(&self) {
        let mut memory = self.memory();
        let challenges = std::mem::take(&mut memory.challenges);
        challenges.keys().for_each(|name| self.remove(name));
        memory.cache.clear();
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        self.memory().secrets.clone()
    }

    fn start(&self) -> Vec<u8> {
        // Without the file nobody has restarted anything.
        fs::read(self.state.join("himdsd")).unwrap_or_default()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, name: &str) {
        // A test may have cleared the directory already.
        let _ = fs::remove_file(self.tokens.join(name));
    }

    /// Makes the file that proves who can read it; its path on the machine.
    fn challenge(&self, now: Duration) -> Result<PathBuf> {
        let name = format!("{}.key", guid::fresh()?);
        let path = self.tokens.join(&name);
        let secret: String = guid::random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        // The real one belongs to root and group himds, with the same mode.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o440).open(&path);
        file.and_then(|mut file| file.write_all(secret.as_bytes()))
            .with_context(|| format!("write `{}`", path.display()))?;
        let mut memory = self.memory();
        let old = |challenge: &Challenge| now.saturating_sub(challenge.made) > CHALLENGE_LIFETIME;
        let forgotten: Vec<String> =
            memory.challenges.iter().filter(|(_, one)| old(one)).map(|(name, _)| name.clone()).collect();
        for name in forgotten {
            memory.challenges.remove(&name);
            self.remove(&name);
        }
        let named = self.named.join(&name);
        memory.secrets.push(secret.clone());
        memory.challenges.insert(name, Challenge { secret, made: now });
        Ok(named)
    }

    /// Whether this is the secret of an open challenge, which is closed by that.
    fn is_met(&self, secret: &str) -> bool {
        let mut memory = self.memory();
        let found = memory.challenges.iter().find(|(_, challenge)| challenge.secret == secret);
        let Some(name) = found.map(|(name, _)| name.clone()) else { return false };
        memory.challenges.remove(&name);
        self.remove(&name);
        true
    }
}

/// A challenge that nobody meets is forgotten after this time.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(300);

/// Those that Microsoft's own libraries use.
const API_VERSIONS: [&str; 3] = ["2019-11-01", "2020-06-01", "2021-02-01"];

pub(super) fn answer(state: &mut State, site: &Site, call: &mut Call) -> Reply {
    let start = site.start();
    if site.memory().start != start {
        site.restart();
        site.memory().start = start;
    }
    settle(token(state, site, call))
}

fn token(state: &mut State, site: &Site, call: &mut Call) -> Outcome {
    let resource = admit(site, call, state.clock.now())?;
    let issued = issue(state, site, &resource, call.now)?;
    call.principal = Some(issued.claims.oid.clone());
    Ok(granted(&issued, &resource, call.now))
}

/// The resource that is asked for, by somebody who has met a challenge.
pub(super) fn admit(site: &Site, call: &Call, now: Duration) -> Result<String, Reply> {
    if call.segments().join("/") != "metadata/identity/oauth2/token" {
        return Err(error(404, "not_found", "The requested resource is not found."));
    }
    if call.method != Method::GET {
        return Err(error(405, "invalid_request", "Only GET is allowed."));
    }
    if !call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(error(400, "invalid_request", "Required metadata header not specified or not correct."));
    }
    let required = |name: &str| {
        let message = format!("The required query parameter '{name}' is missing.");
        call.parameter(name).filter(|value| !value.is_empty()).ok_or_else(|| error(400, "invalid_request", &message))
    };
    let version = required("api-version")?;
    if !API_VERSIONS.contains(&version.as_str()) {
        let message = format!("The api-version '{version}' is not supported. Use one of {}.", API_VERSIONS.join(", "));
        return Err(error(400, "invalid_request", &message));
    }
    let resource = required("resource")?;
    let proof = call.header("authorization").and_then(|text| text.split_once(' '));
    let proven =
        proof.is_some_and(|(scheme, secret)| scheme.eq_ignore_ascii_case("basic") && site.is_met(secret.trim()));
    if !proven {
        let path = site.challenge(now).map_err(|_| unavailable(500))?;
        let challenge = format!("Basic realm={}", path.display());
        return Err(error(401, "unauthorized", "Meet the challenge.").with("www-authenticate", challenge));
    }
    Ok(resource)
}

/// For a [`super::HimdsDaemon`], which asks with the `vmId` that its machine was connected with.
pub(super) fn for_daemon(state: &mut State, call: &mut Call) -> Outcome {
    let ask: Ask = serde_json::from_slice(&call.body).map_err(|_| error(400, "invalid_request", "Not a request."))?;
    let issued = of_machine(state, &ask)?;
    call.principal = Some(issued.claims.oid.clone());
    Ok(granted(&issued, &ask.resource, call.now))
}

/// What a daemon asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) machine: String,
    pub(super) vm_id: String,
    pub(super) resource: String,
}

fn of_machine(state: &mut State, Ask { machine, vm_id, resource }: &Ask) -> Result<Issued, Reply> {
    if !state.knows_resource(resource) {
        let message = format!("AADSTS500011: The resource principal named {resource} was not found in the tenant.");
        return Err(error(400, "invalid_resource", &message));
    }
    let machine = known(state, machine, vm_id)?;
    let bearer = Bearer { client_id: &machine.client_id, object_id: &machine.principal_id, machine: Some(&machine.id) };
    let audience = resource.trim_start_matches("api://");
    // Entra ID issues it, whose clock is right whatever time this machine has.
    let time = state.clock.now();
    state.issue(bearer, audience, time).map_err(|_| unavailable(500))
}

fn known(state: &State, id: &str, vm_id: &str) -> Result<Machine, Reply> {
    let machine = state.machines.get(&id.to_ascii_lowercase());
    machine.filter(|machine| machine.vm_id == vm_id).cloned().ok_or_else(not_connected)
}

pub(super) fn not_connected() -> Reply {
    error(500, "server_error", "The machine is not connected to Azure.")
}

fn granted(issued: &Issued, resource: &str, now: Duration) -> Reply {
    let body = json!({
        "access_token": issued.token,
        "client_id": issued.claims.appid,
        "expires_in": issued.claims.exp.saturating_sub(now.as_secs()).to_string(),
        "expires_on": issued.claims.exp.to_string(),
        "ext_expires_in": (issued.claims.exp - issued.claims.iat).to_string(),
        "not_before": issued.claims.nbf.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    Reply::json(200, &body)
}

/// The token in the cache while it holds, or a new one.
fn issue(state: &mut State, site: &Site, resource: &str, now: Duration) -> Result<Issued, Reply> {
    let config = fs::read(site.state.join(AgentConfig::FILE)).map_err(|_| not_connected())?;
    let config: AgentConfig = serde_json::from_slice(&config).map_err(|_| not_connected())?;
    let machine = known(state, &config.resource_id(), &config.vm_id)?;
    let cached = site.memory().cache.get(resource).cloned();
    if let Some(issued) = cached.filter(|one| one.claims.oid == machine.principal_id && one.claims.exp > now.as_secs())
    {
        return Ok(issued);
    }
    let ask = Ask { machine: config.resource_id(), vm_id: config.vm_id, resource: resource.to_owned() };
    let issued = of_machine(state, &ask)?;
    site.memory().cache.insert(resource.to_owned(), issued.clone());
    Ok(issued)
}

fn error(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": description}))
}

pub(super) fn unavailable(status: u16) -> Reply {
    error(status, "server_error", "The request failed; try again.")
}
