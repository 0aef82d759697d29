//! Arc machines, `Microsoft.HybridCompute/machines`.

use std::collections::BTreeMap;

use axum::http::Method;
use serde::Deserialize;
use serde_json::json;

use super::error::error;
use super::gate;
use super::target::Place;
use crate::azure::call::{Call, Outcome, Reply};
use crate::azure::state::State;
use crate::azure::things::{Machine, covers};
use crate::azure::token::Claims;

const KIND: &str = "Microsoft.HybridCompute/machines";

pub(super) fn answer(state: &mut State, call: &Call, who: &Claims, place: &Place) -> Outcome {
    gate::supports(call, "machines", &["2022-12-27"])?;
    gate::method_is(call, &[Method::GET, Method::PUT, Method::DELETE])?;
    let Place { subscription, group, name } = place;
    let id = format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{KIND}/{name}");
    let action = match call.method {
        Method::GET => "read",
        Method::PUT => "write",
        _ => "delete",
    };
    gate::authorize(state, who, &format!("{KIND}/{action}"), &id)?;
    gate::group_exists(state, place)?;
    match call.method {
        Method::GET => read(state, place, &id),
        Method::PUT => write(state, call, place, &id),
        _ => Ok(Reply::empty(if state.unregister(&id) { 200 } else { 204 })),
    }
}

fn read(state: &mut State, place: &Place, id: &str) -> Outcome {
    let now = state.clock.now();
    let tenant = state.tenant.id.clone();
    let machine = state.machines.get_mut(&id.to_ascii_lowercase()).ok_or_else(|| gate::not_found(KIND, place))?;
    let shown = machine.shown.arrived(now);
    Ok(Reply::json(200, &describe(machine, &tenant, shown)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    location: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    identity: Option<Identity>,
    properties: Option<Properties>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Identity {
    r#type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Properties {
    vm_id: Option<String>,
    client_public_key: Option<String>,
    agent_version: Option<String>,
    #[serde(rename = "osType")]
    _os_type: Option<String>,
}

fn write(state: &mut State, call: &Call, place: &Place, id: &str) -> Outcome {
    let wanted: Wanted = gate::body(call)?;
    if !is_name(&place.name) {
        let message = format!("The resource name '{}' is invalid.", place.name);
        return Err(error(400, "InvalidResourceName", &message));
    }
    let Some(location) = wanted.location.filter(|location| !location.is_empty()) else {
        return Err(error(400, "LocationRequired", "The location property is required for this definition."));
    };
    let location: String = location.to_ascii_lowercase().split_whitespace().collect();
    if !LOCATIONS.contains(&location.as_str()) {
        let message = format!(
            "The provided location '{location}' is not available for resource type '{KIND}'. List of available \
             regions for the resource type is '{}'.",
            LOCATIONS.join(",")
        );
        return Err(error(400, "LocationNotAvailableForResourceType", &message));
    }
    let is_system_assigned = wanted.identity.is_some_and(|identity| identity.r#type == "SystemAssigned");
    let properties = wanted.properties.filter(|properties| properties.client_public_key.is_some());
    let vm_id = properties.as_ref().and_then(|properties| properties.vm_id.clone());
    let (true, Some(properties), Some(vm_id)) = (is_system_assigned, properties, vm_id) else {
        let message = "A machine needs identity.type SystemAssigned, properties.vmId and properties.clientPublicKey.";
        return Err(error(400, "HCRP400", message));
    };
    let existing = state.machines.get(&id.to_ascii_lowercase());
    let is_new = existing.is_none();
    match existing {
        Some(machine) if machine.location != location => {
            let message = format!(
                "The resource '{}' already exists in location '{}' in resource group '{}'. A resource with the same \
                 name cannot be created in location '{location}'.",
                place.name, machine.location, place.group
            );
            return Err(error(409, "InvalidResourceLocation", &message));
        }
        Some(machine) if machine.vm_id != vm_id => {
            let message = format!("A machine named '{}' is connected already, with another vmId.", place.name);
            return Err(error(409, "HCRP409", &message));
        }
        Some(_) => {}
        None => within_quota(state, place)?,
    }
    let tenant = state.tenant.id.clone();
    if is_new {
        state.register(id, &place.name).map_err(|_| super::unavailable(500))?;
    }
    let Some(machine) = state.machines.get_mut(&id.to_ascii_lowercase()) else {
        return Err(super::unavailable(500));
    };
    (machine.location, machine.vm_id) = (location, vm_id);
    machine.tags = json!(wanted.tags);
    machine.agent_version = properties.agent_version.unwrap_or_default();
    // The identity is not told here: who wants to know it reads the machine.
    Ok(Reply::json(if is_new { 201 } else { 200 }, &describe(machine, &tenant, false)))
}

fn within_quota(state: &State, place: &Place) -> Result<(), Reply> {
    let group = format!("/subscriptions/{}/resourceGroups/{}", place.subscription, place.group);
    let machines = state.machines.keys().filter(|id| covers(&group, id)).count();
    if machines < state.limits.machines {
        return Ok(());
    }
    let message = format!(
        "The number of resources of type '{KIND}' in resource group '{}' has reached its limit of {}.",
        place.group, state.limits.machines
    );
    Err(error(409, "ResourceQuotaExceeded", &message))
}

fn describe(machine: &Machine, tenant: &str, shows_identity: bool) -> serde_json::Value {
    let mut identity = json!({"type": "SystemAssigned"});
    if shows_identity {
        identity["principalId"] = json!(machine.principal_id);
        identity["tenantId"] = json!(tenant);
    }
    json!({
        "id": machine.id,
        "name": machine.name,
        "type": KIND,
        "location": machine.location,
        "tags": machine.tags,
        "identity": identity,
        "properties": {
            "provisioningState": "Succeeded",
            "status": "Connected",
            "vmId": machine.vm_id,
            "agentVersion": machine.agent_version,
            "osType": "linux",
        },
    })
}

/// The pattern of Azure's API description.
fn is_name(name: &str) -> bool {
    (1..=54).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Some of the regions that have Azure Arc.
const LOCATIONS: [&str; 10] = [
    "australiaeast",
    "centralus",
    "eastus",
    "eastus2",
    "francecentral",
    "northeurope",
    "southeastasia",
    "uksouth",
    "westeurope",
    "westus2",
];
