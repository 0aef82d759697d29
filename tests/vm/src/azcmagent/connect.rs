//! Connecting, disconnecting and checking.

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::cloud::{Answer, Cloud};
use super::options::Options;
use super::place::{self, Place};
use super::trouble::{Code, Outcome, Trouble};
use crate::azure::{AgentConfig, guid};

pub(super) fn connect(place: &Place, options: Options) -> Outcome<String> {
    place::is_root()?;
    if let Some(config) = place.config()? {
        let message = format!("this machine is already connected, as {}", config.resource_id());
        return Err(Trouble::new(Code::AlreadyConnected, message));
    }
    let request = options.request()?;
    let correlation_id = request.correlation_id.clone().map_or_else(guid::fresh, Ok)?;
    let config = AgentConfig {
        subscription_id: request.subscription,
        resource_group: request.group,
        resource_name: request.name,
        tenant_id: request.tenant,
        location: request.location,
        cloud: request.cloud,
        vm_id: place.vm_id()?,
        correlation_id: correlation_id.clone(),
    };
    let cloud = Cloud::new(place, correlation_id)?;
    cloud.is(&config.cloud)?;
    let body = json!({
        "location": config.location,
        "tags": request.tags,
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "vmId": config.vm_id,
            "clientPublicKey": guid::fresh()?,
            "agentVersion": crate::standin::version(),
            "osType": "linux",
        },
    });
    let id = config.resource_id();
    wait(async {
        let token = cloud.token(&request.credential).await?;
        let existing = cloud.machine(Method::GET, &id, &token, None).await?;
        match existing.status {
            StatusCode::NOT_FOUND if existing.body["error"]["code"] == "ResourceNotFound" => {}
            // Our own, from a run that was cut off before it could note that it was done.
            StatusCode::OK if existing.body["properties"]["vmId"] == config.vm_id.as_str() => {}
            StatusCode::OK if existing.body["properties"]["vmId"].is_string() => {
                let message = format!("a resource with the same name already exists: {id}");
                return Err(Trouble::new(Code::Exists, message));
            }
            _ => return Err(refused(&existing, Code::CreateFailed, "create")),
        }
        let created = cloud.machine(Method::PUT, &id, &token, Some(&body)).await?;
        if created.status == StatusCode::CONFLICT {
            return Err(Trouble::new(Code::Exists, created.said()));
        }
        // A success of another shape is not ARM's: a proxy or portal in between.
        let is_ours = created.status.is_success() && created.body["properties"]["vmId"] == config.vm_id.as_str();
        if is_ours { Ok(()) } else { Err(refused(&created, Code::CreateFailed, "create")) }
    })?;
    place.keep(&config)?;
    Ok(format!("level=info msg=\"Connected machine to Azure: {id}\""))
}

pub(super) fn disconnect(place: &Place, options: Options, force_local_only: bool) -> Outcome<String> {
    place::is_root()?;
    let Some(config) = place.config()? else {
        place.forget()?;
        return Ok("level=info msg=\"This machine is not connected\"".to_owned());
    };
    if !force_local_only {
        let credential = options.credential_in(&config.tenant_id)?;
        let cloud = Cloud::new(place, config.correlation_id.clone())?;
        let id = config.resource_id();
        wait(async {
            let token = cloud.token(&credential).await?;
            let deleted = cloud.machine(Method::DELETE, &id, &token, None).await?;
            let gone = deleted.status.is_success() || deleted.status == StatusCode::NOT_FOUND;
            if gone { Ok(()) } else { Err(refused(&deleted, Code::DeleteFailed, "delete")) }
        })?;
    }
    place.forget()?;
    Ok("level=info msg=\"Disconnected machine from Azure\"".to_owned())
}

pub(super) fn check(place: &Place) -> Outcome<String> {
    let cloud = Cloud::new(place, guid::fresh()?)?;
    wait(cloud.audience())?;
    Ok(format!("{}  reachable: true  tls: verified", cloud.arm()))
}

fn refused(answer: &Answer, otherwise: Code, verb: &str) -> Trouble {
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            Trouble::new(Code::InvalidToken, format!("the access token is not valid: {}", answer.said()))
        }
        _ => Trouble::new(otherwise, format!("failed to {verb} the resource: {}", answer.said())),
    }
}

fn wait<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start a thread for requests")?.block_on(work)
}
